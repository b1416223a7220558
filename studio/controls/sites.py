"""Which blocks of a network a control acts on when nobody says: shares of the depth, and what papers found
for known networks.

A block is named by the index of its joint site, 0.. in the order in which they run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from studio.errors import StudioError
from studio.models.family import Site

# Networks are told apart by their sites: (joint_double, joint_single, image_self).
SD3_MEDIUM, SD35_MEDIUM, SD35_LARGE, FLUX = (24, 0, 0), (24, 0, 13), (38, 0, 0), (19, 38, 0)

# Where text-to-image maps are clearest (arXiv 2508.07519, top five by soft IoU). Its list for SD3.5 medium
# counts the self-attentions too, so that of its numbers only the blocks 4 and 5 ever took part.
_MAPS: Mapping[tuple[int, int, int], tuple[int, ...]] = {
    SD3_MEDIUM: (7, 8, 5, 4, 9),
    SD35_MEDIUM: (4, 5),
    SD35_LARGE: (18, 21, 20, 24, 16),
    FLUX: (18, 17, 12, 14, 11),
}
# How many sites from the front copy the source on distilled models of four steps (the same paper).
_FEW_STEPS: Mapping[tuple[int, int, int], int] = {FLUX: 38, SD35_LARGE: 30}
# Sites of FLUX that carry a subject (arXiv 2507.15249), found by leaving out one at a time.
_VITAL = (0, 1, 2, 17, 18, 25, 28, 53, 54, 56)


def joint_count(sites: Sequence[Site]) -> int:
    """How many joint sites there are."""
    return sum(site.joint for site in sites)


def map_sites(sites: Sequence[Site]) -> tuple[int, ...]:
    """Where maps of words are read: the published blocks of a known network, else the middle third."""
    known = _MAPS.get(_signature(sites))
    if known is not None:
        return known
    count = joint_count(sites)
    return tuple(range(count // 3, count - count // 3))


def best_map_sites(measured: Mapping[str, object] | None, sites: Sequence[Site]) -> tuple[int, ...]:
    """Where words are located best: what `eval blocks` measured of the model (its calibration "map_blocks",
    "scenes"), else `map_sites`."""
    found = (measured or {}).get("chosen")
    known = range(joint_count(sites))
    own = tuple(i for i in found if i in known) if isinstance(found, list | tuple) else ()
    return own or map_sites(sites)


def few_step_sites(sites: Sequence[Site]) -> tuple[int, ...]:
    """Which sites copy the source in a run of at most four steps: the published number, else the first two
    thirds. All of them would copy the whole picture."""
    count = joint_count(sites)
    return tuple(range(_FEW_STEPS.get(_signature(sites), -(-2 * count // 3))))


def last_sites(sites: Sequence[Site], share: float) -> tuple[int, ...]:
    """The last share of the joint sites, one at least."""
    count = joint_count(sites)
    return tuple(range(count - max(1, round(share * count)), count))


def vital_sites(sites: Sequence[Site]) -> tuple[int, ...]:
    """The sites that carry a subject: the published ones of FLUX, on other networks those at the same
    depth."""
    last = joint_count(sites) - 1
    return tuple(dict.fromkeys(round(index * last / _VITAL[-1]) for index in _VITAL))


def words_site(sites: Sequence[Site]) -> tuple[int, ...]:
    """The site that carries written words: block 10 of SD3 medium (arXiv 2502.09935), on other networks the
    one at the same depth."""
    return (round(10 / 23 * (joint_count(sites) - 1)),)


def check_sites(chosen: Sequence[int] | None, sites: Sequence[Site], *, socket: str = "") -> None:
    """StudioError unless the network has all of them; None means all."""
    count = joint_count(sites)
    outside = [index for index in chosen or () if not 0 <= index < count]
    if outside:
        raise StudioError(
            f"There is no block {outside[0]}: this model has {count} blocks with text and picture.",
            hint=f"Blocks are numbered from 0 to {count - 1}.",
            socket=socket,
        )


def _signature(sites: Sequence[Site]) -> tuple[int, int, int]:
    kinds = [site.kind for site in sites]
    return kinds.count("joint_double"), kinds.count("joint_single"), kinds.count("image_self")
