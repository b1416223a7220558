"""What a run asks for: from the targets upwards, digests first, values only where something must run (E9,
E19).

A node is first *resolved*: once the digests of all its inputs are known it may turn out to be made already.
Only if not are the values fetched, from the cache or by running their makers. Everything is a work list:
nothing recurses over the depth of the graph.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from studio.graph.cache import MISSING, Cache, Entry
from studio.graph.digest import BlockedCodec
from studio.graph.keys import node_key
from studio.graph.resolve import Resolved
from studio.graph.run_state import DIGEST, FETCHING, IDLE, READY, RESOLVING, VALUE, LostValueError, NodeRun
from studio.graph.spec import BLOCKED

_BLOCKED_DIGEST = BlockedCodec().digest(BLOCKED)


class Demand:
    """Who wants what of whom. `cached(node, reason)`: its result is there; `ready(node)`: it can run;
    `dead(node, reason)`: it will have no result. `lazy`: targets are loaded only when somebody asks."""

    def __init__(
        self,
        nodes: list[NodeRun],
        resolved: Resolved,
        cache: Cache | None,
        *,
        lazy: bool,
        cached: Callable[[NodeRun, str], None],
        ready: Callable[[NodeRun], None],
        dead: Callable[[NodeRun, str], None],
    ) -> None:
        self.nodes, self.resolved, self.cache, self.lazy = nodes, resolved, cache, lazy
        self.on_cached, self.on_ready, self.on_dead = cached, ready, dead
        self.waiters: list[list[tuple[int, int]]] = [[] for _ in nodes]
        self.work: deque[Callable[[], None]] = deque()

    def drain(self) -> None:
        """Do all that follows from what was asked and told."""
        while self.work:
            self.work.popleft()()

    def want(self, index: int, level: int) -> None:
        node = self.nodes[index]
        if node.need < level:
            node.need = level
            self.work.append(lambda: self._advance(node))

    def _has(self, index: int, level: int) -> bool:
        node = self.nodes[index]
        return node.values is not None or (level == DIGEST and node.entry is not None)

    def _advance(self, node: NodeRun) -> None:
        """Bring an idle node as far as it can be brought now."""
        if node.phase != IDLE or node.task.dead:
            return
        if node.entry is None:
            self._resolve(node)
        elif node.need == VALUE:
            self._take(node, node.found or "unchanged")

    def _take(self, node: NodeRun, reason: str) -> None:
        """Use what the cache holds, or make it again."""
        if self.usable(node):
            self.on_cached(node, reason)
        else:
            self.fetch(node)

    def usable(self, node: NodeRun) -> bool:
        """Load what is asked for; a target with a hook is loaded only if the hook asks."""
        assert node.entry is not None
        if node.values is not None:
            return True
        if self.cache is None:
            return False
        if node.task.target and self.lazy and not self.resolved.consumers[node.task.index]:
            return all(self.cache.holds(digest) for _, digest in node.entry.outputs)
        try:
            node.values = self.load(node)
        except LostValueError:
            return False
        return True

    def load(self, node: NodeRun) -> dict[str, Any]:
        assert node.entry is not None
        assert self.cache is not None
        used = {
            out
            for i in self.resolved.consumers[node.task.index]
            for _, s, out in self.nodes[i].task.inputs
            if s == node.task.index
        }
        values = {}
        for name, digest in node.entry.outputs:
            if node.task.target or name in used:
                values[name] = self.cache.value(digest, node.entry.seconds)
                if values[name] is MISSING:
                    raise LostValueError
        return values

    def _resolve(self, node: NodeRun) -> None:
        """Ask for the digests of all inputs."""
        if node.task.always or not node.task.inputs:
            self.fetch(node)
            return
        node.phase = RESOLVING
        self._await(node, DIGEST, self._resolved)

    def _await(self, node: NodeRun, level: int, then: Callable[[NodeRun], None]) -> None:
        sources = {source for _, source, _ in node.task.inputs}
        missing = [s for s in sources if not self._has(s, level)]
        node.waiting = len(missing)
        for source in missing:
            self.waiters[source].append((node.task.index, level))
            self.want(source, level)
        if not missing:
            then(node)

    def _resolved(self, node: NodeRun) -> None:
        """All input digests are known: is the result there under its content key?"""
        if self._blocked(node):
            return
        node.content_key = self._content_key(node)
        spec = node.task.spec
        if self.cache is not None and spec is not None and spec.cache:
            node.entry = self.cache.entry(node.content_key)
        if node.entry is None:
            self.fetch(node)
            return
        self.cache.store([node.task.key], node.entry, {}) if self.cache else None
        node.found = "inputs came out equal"
        if node.need == VALUE:
            self._take(node, node.found)
        else:
            node.phase = IDLE
            self.tell(node)

    def _content_key(self, node: NodeRun) -> str:
        tokens = [
            (name, (self.nodes[s].entry or Entry(())).digest(out).encode())
            for name, s, out in node.task.inputs
        ]
        return node_key(node.task.prefix, tokens)

    def fetch(self, node: NodeRun) -> None:
        """It must run: ask for the values of all inputs."""
        node.phase = FETCHING
        node.entry = None
        node.need = VALUE
        self._await(node, VALUE, self._runnable)

    def _runnable(self, node: NodeRun) -> None:
        if self._blocked(node):
            return
        node.content_key = node.content_key or self._content_key(node)
        node.phase = READY
        self.on_ready(node)

    def _blocked(self, node: NodeRun) -> bool:
        for _, source, out in node.task.inputs:
            maker = self.nodes[source]
            if maker.entry is not None and maker.entry.digest(out) == _BLOCKED_DIGEST:
                self.on_dead(node, f"{maker.task.title} gave no result")
                return True
        return False

    def tell(self, node: NodeRun) -> None:
        """Whoever waits for this node may go on."""
        waiting, self.waiters[node.task.index] = self.waiters[node.task.index], []
        for index, level in waiting:
            consumer = self.nodes[index]
            if not self._has(node.task.index, level):
                self.waiters[node.task.index].append((index, level))
                continue
            consumer.waiting -= 1
            if consumer.waiting == 0 and consumer.phase in (RESOLVING, FETCHING):
                self.work.append(lambda consumer=consumer: self._again(consumer))  # type: ignore[misc]

    def _again(self, node: NodeRun) -> None:
        """Ask once more: an input whose digest was known may have lost its value since, and is made anew."""
        if node.phase == RESOLVING:
            self._await(node, DIGEST, self._resolved)
        elif node.phase == FETCHING:
            self._await(node, VALUE, self._runnable)
