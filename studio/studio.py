"""class Studio: the one place that wires registry, engine, models, jobs and history."""
from __future__ import annotations

import base64
import json
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studio.db.file_hashes import FileHashes
from studio.db.open import open_home
from studio.errors import Refused, StudioError
from studio.graph import engine as engines
from studio.graph.cache import Cache
from studio.graph.check import Problem
from studio.graph.context import CancelToken, Device
from studio.graph.disk_cache import DiskCache
from studio.graph.document import Graph, Limits, dumps, loads
from studio.graph.events import Event, EventLog, fold
from studio.graph.plan import Plan, Seen
from studio.graph.registry import Registry
from studio.history.embed import read_embedded
from studio.history.store import History
from studio.jobs.queue import Job, Queue
from studio.jobs.runner import Outcome, Runner
from studio.models.codec import TensorCodec
from studio.models.embedded import list_embedded
from studio.models.loading import ModelStore
from studio.outputs import OutputKeeper, OutputReport, about, make_record
from studio.policy import Policy
from studio.replay import Comparison, replay
from studio.settings import Settings

NODE_MODULES = ("model", "prompt", "sample", "image")
KEPT_REPORTS = 32

