"""Load, place, keep and release stock diffusers components: embedded models, folders, Hub ids, miniatures."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from studio.errors import BadModel, StudioError
from studio.models.device import Placement, device_memory, place
from studio.models.embedded import (
    FOLDER,
    PREFIX,
    Recipe,
    card_calibration,
    find_embedded,
    list_embedded,
    read_card,
    recipe_of,
)
from studio.models.family import Component, Parts
from studio.models.folders import Folder, check_folder
from studio.models.lora import digest_with, lora_model
from studio.models.references import (
    BESIDE_MODELS,
    HUB,
    TINY,
    LoraInfo,
    download,
    first_line,
    info_of,
    list_loras,
    lora_card,
    lora_file,
    own_recipe,
)
from studio.models.references import FileDigest as FileDigest
from studio.models.references import ModelInfo as ModelInfo
from studio.models.references import ref_files as ref_files
from studio.models.references import ref_folder as ref_folder
from studio.models.text_cache import tell_files
from studio.models.weight_files import stamp
from studio.policy import Policy
from studio.values import Model


class ModelStore:
    """Loads models by reference and keeps at most `keep` of them; handles load theirs again when it was
    released.

    `file_digest(path)`: the memoised SHA-256 of a file, as `FileHashes.sha256`; without it files are
    hashed here
    and remembered by their stamp. Miniatures (tiny:sd3) are written to a temporary folder.
    """

    def __init__(
        self,
        *,
        policy: Policy | None = None,
        device: str = "auto",
        keep: int = 2,
        file_digest: Callable[[Path], str] | None = None,
        embedded: Path = FOLDER,
        models_folder: Path | None = None,
        calibrations: Callable[[str, str, str], Mapping[str, object] | None] | None = None,
        keep_calibration: Callable[[str, str, str, Mapping[str, object]], None] | None = None,
    ) -> None:
        if keep < 1:
            raise StudioError(f"At least one model must be kept, not {keep}.")
        self.policy = policy or Policy.local()
        self.keep = keep
        self._device = device
        self._placement: Placement | None = None
        self._embedded = embedded
        self._own = models_folder
        self._file_digest = file_digest or _FileDigests()
        self._calibrations = calibrations
        self._keep_calibration = keep_calibration
        self._lock = threading.RLock()
        self._loaded: OrderedDict[str, Parts] = OrderedDict()
        self._digests: dict[Path, tuple[tuple[tuple[str, int, int, int], ...], str]] = {}
        self._scratch: Path | None = None

    def __repr__(self) -> str:
        return f"ModelStore({len(self._loaded)} of {self.keep} loaded, device {self._device!r})"

    @property
    def placement(self) -> Placement:
        """Device and dtype of every model here; asking the first time looks for a GPU."""
        if self._placement is None:
            self._placement = place(self._device)
        return self._placement

    @property
    def device(self) -> str:
        """The device of every model here, as torch writes it."""
        return str(self.placement.device)

    @property
    def loaded(self) -> tuple[str, ...]:
        """Digests of the models in memory, least recently used first."""
        with self._lock:
            return tuple(self._loaded)

    def load(self, ref: str) -> Model:
        """The model of a reference: embedded:name, a folder, hub:owner/name, or tiny:sd3.

        Raises Refused where the policy forbids it, BadModel if it is missing, incomplete, a pickle or of
        a class
        without a family; every file is checked before a tensor is read.
        """
        with self._lock:
            if (recipe := self._recipe(ref)) is not None:
                base, digest = self.load(recipe.base), self._file_digest(recipe.file)
                return lora_model(base, recipe.file, digest, recipe.strength, recipe.card, ref)
            folder = self._open(ref)
            digest = self._digest(folder)
            if digest not in self._loaded:
                self._keep(digest, self._open_parts(folder))
            self._loaded.move_to_end(digest)
            return Model(ref, folder.family.name, digest, self, folder.card)

    def digest(self, ref: str) -> str:
        """SHA-256 over the files of a model, without loading it; unchanged files are not read again."""
        with self._lock:
            if (recipe := self._recipe(ref)) is not None:
                file = self._file_digest(recipe.file)
                return digest_with(self._digest(self._open(recipe.base)), file, recipe.strength)
            return self._digest(self._open(ref))

    def device_label(self) -> str:
        """The device in words: "CPU", or "GPU" with its name."""
        device = self.placement.device
        if device.type == "cuda":
            return f"GPU {torch.cuda.get_device_name(device)}"
        return "CPU" if device.type == "cpu" else "Apple GPU"

    def memory(self) -> dict[str, int]:
        """Bytes of memory where the models lie: {"total", "free"}; empty where the system does not say."""
        return device_memory(self.placement.device)

    def family(self, ref: str) -> str:
        """The name of a model's family, without loading it."""
        with self._lock:
            return self._open(self._base(ref)).family.name

    def parts(self, model: Model) -> Parts:
        """The loaded components behind a handle."""
        with self._lock:
            if model.digest not in self._loaded:
                folder = self._open(model.ref)
                if self._digest(folder) != model.digest:
                    raise BadModel(
                        f"The files of model {model.ref!r} have changed since it was loaded.",
                        hint="Run again to load the new files.",
                    )
                self._keep(model.digest, self._open_parts(folder))
            self._loaded.move_to_end(model.digest)
            return self._loaded[model.digest]

    def calibration(self, model: Model, kind: str, key: str) -> Mapping[str, object] | None:
        """What was measured about a model's weights (`python -m studio eval blocks`): in this home, else what
        its card says; None if nobody measured it."""
        found = self._calibrations(model.digest, kind, key) if self._calibrations is not None else None
        return found if found is not None else card_calibration(model.card, kind, key)

    def keep_calibration(self, model: Model, kind: str, key: str, value: Mapping[str, object]) -> bool:
        """Keep what a run measured about a model's weights in this home, in place of an earlier one; False
        where nothing is kept: without a home, and on a public host, whose visitors share the models."""
        if self._keep_calibration is None or self.policy.is_public:
            return False
        self._keep_calibration(model.digest, kind, key, value)
        return True

    def release(self, ref: str | None = None) -> None:
        """Drop the weights of one model, or of all; their handles stay valid."""
        with self._lock:
            if ref is None:
                self._loaded.clear()
            else:
                self._loaded.pop(self._digest(self._open(self._base(ref))), None)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def list(self) -> tuple[ModelInfo, ...]:
        """The embedded models, then the sub-folders of the models folder, broken ones with their problem."""
        found = [
            info_of(model.ref, model.name, model.title, model.folder, model.card)
            for model in list_embedded(self._embedded)
        ]
        if self._own is not None and self._own.is_dir() and self.policy.allow_paths:
            for path in sorted(self._own.iterdir()):
                kept = path.name in BESIDE_MODELS and not (path / "model_index.json").exists()
                if path.is_dir() and not kept and not path.name.startswith("."):
                    found.append(info_of(str(path), path.name, path.name, path, read_card(path)))
        return tuple(found)

    def loras(self) -> tuple[LoraInfo, ...]:
        """The LoRA files found here; on a host that opens no paths those that ship alone."""
        return list_loras(self._embedded, self._own if self.policy.allow_paths else None)

    def lora(self, model: Model, ref: str, strength: float) -> Model:
        """A model with the LoRA of a reference; see `lora_file` and `lora_model`."""
        found = lora_file(ref, self.policy, self._embedded)
        card = lora_card(model.card, found, model.title)
        return lora_model(model, found.path, self._file_digest(found.path), strength, card)

    def close(self) -> None:
        """Release everything and remove the temporary miniatures."""
        self.release()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def _open(self, ref: str) -> Folder:
        if not isinstance(ref, str) or not ref.strip() or "\0" in ref:
            raise BadModel(
                "No model is named.", hint="For example embedded:scenes-sd3, or a diffusers folder."
            )
        self.policy.check_model_ref(ref)
        if ref.startswith(PREFIX):
            model = find_embedded(ref, self._embedded)
            return check_folder(model.folder, model.card)
        if ref.startswith(HUB):
            return check_folder(download(ref.removeprefix(HUB)))
        if ref.startswith(TINY):
            return check_folder(self._tiny(ref.removeprefix(TINY)))
        return check_folder(Path(ref).expanduser())

    def _recipe(self, ref: str) -> Recipe | None:
        """The recipe behind a reference that is a LoRA over another model."""
        if not isinstance(ref, str) or "\0" in ref or ref.startswith((HUB, TINY)):
            return None
        if ref.startswith(PREFIX):
            self.policy.check_model_ref(ref)
            return recipe_of(find_embedded(ref, self._embedded).folder)
        return own_recipe(Path(ref).expanduser()) if ref.strip() and self.policy.allow_paths else None

    def _base(self, ref: str) -> str:
        recipe = self._recipe(ref)
        return ref if recipe is None else recipe.base

    def _tiny(self, name: str) -> Path:
        from studio.models.tiny import PIPELINES, save_tiny

        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="weft-tiny-"))
            weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        folder = self._scratch / name
        return folder if name in PIPELINES and folder.is_dir() else save_tiny(name, folder)

    def _digest(self, folder: Folder) -> str:
        mark = stamp(folder.files)
        known = self._digests.get(folder.path)
        if known is None or known[0] != mark:
            total = hashlib.sha256(repr(folder.card.get("max_sequence_length")).encode())
            for path in folder.files:
                name = path.relative_to(folder.path).as_posix()
                total.update(f"{name}\0{self._file_digest(path)}\n".encode())
            known = self._digests[folder.path] = (mark, total.hexdigest())
        return known[1]

    def _open_parts(self, folder: Folder) -> Parts:
        parts = load_folder(folder, self.placement)
        tell_files(parts, folder, self._file_digest)
        return parts

    def _keep(self, digest: str, parts: Parts) -> None:
        self._loaded[digest] = parts
        while len(self._loaded) > self.keep:
            self._loaded.popitem(last=False)


def load_folder(folder: Folder, placement: Placement) -> Parts:
    """Read the tensors of a checked folder; every component in eval mode, on one device, in one dtype."""
    # loaded in inference mode, weights could never take part in a gradient, such as that through a decoder
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False):
        components = {
            component.name: _load(folder, component, placement) if component.name in folder.classes else None
            for component in folder.family.components
        }
    parts = Parts(folder.family, components, placement.device, placement.dtype, folder.card)
    folder.family.check(parts)
    return parts


def _load(folder: Folder, component: Component, placement: Placement) -> Any:
    library, name = folder.classes[component.name]
    kind = _class(library, name)
    where = folder.path / component.name
    try:
        if not component.weights:
            return kind.from_pretrained(where, local_files_only=True)
        files = folder.weights[component.name]
        loaded, report = kind.from_pretrained(
            where,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            variant=files.variant or None,
            dtype=placement.dtype,
            **_memory_mode(library),
        )
    except StudioError:
        raise
    except Exception as error:
        # the libraries raise a dozen types here; all mean that this folder cannot be loaded
        raise BadModel(
            f"Component {component.name!r} of {folder.path} cannot be loaded: {first_line(error)}",
            hint="Its config and its weights must belong together.",
        ) from error
    missing = sorted(report.get("missing_keys", ()))
    if missing:
        raise BadModel(
            f"Component {component.name!r} of {folder.path} lacks {len(missing)} tensor(s), "
            f"first {missing[0]!r}.",
            hint="Its config and its weights must belong together.",
        )
    return loaded.to(placement.device).eval().requires_grad_(False)


def _class(library: str, name: str) -> Any:
    """A class out of the family's own list, so nothing that a folder names is imported freely."""
    import diffusers
    import transformers
    from diffusers.utils import logging as diffusers_logging

    # whatever matters in a folder is checked here and said in our own words
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers.logging.disable_progress_bar()
    return getattr(diffusers if library == "diffusers" else transformers, name)


def _memory_mode(library: str) -> dict[str, bool]:
    # without accelerate diffusers warns about the mode it then leaves alone
    return {"low_cpu_mem_usage": False} if library == "diffusers" else {}


class _FileDigests:
    """SHA-256 of files, remembered as long as path, size, mtime and inode stay."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int, int], str] = {}

    def __call__(self, path: Path) -> str:
        mark = stamp([path])[0]
        if mark not in self._known:
            with path.open("rb") as stream:
                self._known[mark] = hashlib.file_digest(stream, "sha256").hexdigest()
        return self._known[mark]
