"""One Ray task a shard: resumed by receipt, retried when a worker or a node dies, the same result for any number of workers.

The only file that imports ray.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.artifact import Artifact
from pipeline.errors import ConfigError, ExternalServiceError, PipelineError
from pipeline.progress import Progress
from pipeline.runfile import RunFile, field

S = TypeVar("S")

# A shard whose worker died this often (out of memory, a crash in a native parser) is not going to pass.
MAX_WORKER_DEATHS = 2
# A node that goes is no fault of the shard: it starts again elsewhere, unless nodes keep going.
MAX_NODE_DEATHS = 8


class _NodeLost(Exception):
    """The node that ran a task, or held its result, is gone."""


@dataclass(frozen=True)
class RayCluster:
    """`[ray]` of a run file: where shards run. Never part of a fingerprint."""

    address: str = field("local", identity=False)  # "local", "auto", or "ray://host:port"
    workers: int = field(0, identity=False)  # tasks at once; 0: one a core
    memory_gb: float = field(2.0, identity=False)  # asked of the scheduler for each task on a cluster

    def __post_init__(self) -> None:
        if self.workers < 0 or self.memory_gb <= 0:
            raise ValueError("workers must be >= 0 and memory_gb > 0")


def map_shards(
    task: Callable[[S], Mapping[str, Any]],
    shards: Mapping[str, S],
    artifact: Artifact,
    *,
    step: str,
    label: str,
) -> dict[str, dict[str, Any]]:
    """Run `task(shard)` for every shard that has no receipt yet, and return every shard's statistics by name.

    Args:
        task: a pure function of the shard: writes its files under final names (see `pipeline.files`), returns
            JSON statistics. Importable by name, for it runs in another process.
        shards: name -> what the task needs to know.
        step: names the receipts' folder.
        label: what the person at the terminal reads.
    Returns: name -> statistics, in name order whatever order tasks end in.
    Raises: PipelineError from a task as it is; ExternalServiceError if Ray is out of reach or a worker keeps dying.
    """
    done = {name: stats for name in sorted(shards) if (stats := artifact.read_receipt(step, name)) is not None}
    todo = _order([name for name in shards if name not in done])
    with Progress(label, len(shards), "個", events=artifact.events) as progress:
        progress.resume_at(len(done))
        if todo:
            _run(
                task=task,
                todo={name: shards[name] for name in todo},
                artifact=artifact,
                step=step,
                done=done,
                progress=progress,
            )
    return dict(sorted(done.items()))


def _order(names: list[str]) -> list[str]:
    """In which order shards start; results do not depend on it."""
    return sorted(names)


def _run(
    task: Callable[[S], Mapping[str, Any]],
    todo: dict[str, S],
    artifact: Artifact,
    step: str,
    done: dict[str, dict[str, Any]],
    progress: Progress,
) -> None:
    import ray

    cluster = connect_ray(artifact.run)
    at_once = cluster.workers or max(int(ray.cluster_resources().get("CPU", 1)), 1)
    options: dict[str, Any] = {"num_cpus": 1, "max_retries": MAX_WORKER_DEATHS, "retry_exceptions": False}
    if cluster.address != "local":
        options["memory"] = int(cluster.memory_gb * (1 << 30))
    remote = ray.remote(**options)(_finish)
    waiting, names, lost = {}, iter(todo), dict[str, int]()

    def start() -> None:
        if (name := next(names, None)) is not None:
            waiting[remote.remote(task, todo[name], artifact, step, name)] = name

    try:
        for _ in range(at_once):
            start()
        while waiting:
            ready, _ = ray.wait(list(waiting), num_returns=1)
            name = waiting.pop(ready[0])
            try:
                done[name] = _result(ready[0], name, step)
            except _NodeLost as error:
                lost[name] = lost.get(name, 0) + 1
                if lost[name] > MAX_NODE_DEATHS:
                    raise ExternalServiceError(
                        f"{step} shard {name}: the machine it ran on died {lost[name]} times ({error}); look at the cluster"
                    ) from error
                waiting[remote.remote(task, todo[name], artifact, step, name)] = name
                continue
            progress.update()
            start()
    finally:
        for reference in waiting:
            ray.cancel(reference, force=False)


def _finish(task: Callable[[S], Mapping[str, Any]], shard: S, artifact: Artifact, step: str, name: str) -> dict[str, Any]:
    """In the worker: run one shard, then leave its receipt; nothing is left to do where another attempt has left one."""
    if (finished := artifact.read_receipt(step, name)) is not None:
        return finished
    stats = dict(task(shard))
    artifact.write_receipt(step, name, stats)
    return stats


def _result(reference: Any, name: str, step: str) -> dict[str, Any]:
    import ray
    from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayTaskError, WorkerCrashedError

    try:
        return ray.get(reference)
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, PipelineError):
            raise cause from None
        raise
    except (NodeDiedError, ObjectLostError) as error:
        raise _NodeLost(type(error).__name__) from error
    except (WorkerCrashedError, OutOfMemoryError) as error:
        raise ExternalServiceError(
            f"{step} shard {name}: its worker died {MAX_WORKER_DEATHS + 1} times ({type(error).__name__}); "
            f"most often memory: use fewer workers with --set ray.workers=1, or smaller shards"
        ) from error


def connect_ray(run: RunFile) -> RayCluster:
    """Start or join Ray as `[ray]` of the run file says; does nothing where this process is connected already.

    Raises: ExternalServiceError if the cluster does not answer.
    """
    import ray

    cluster = run.settings("ray", RayCluster) if run.has("ray") else RayCluster()
    if ray.is_initialized():
        return cluster
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "include_dashboard": False}
    try:
        if cluster.address == "local":
            ray.init(address="local", num_cpus=cluster.workers or None, **quiet)
        else:
            ray.init(address=cluster.address, **quiet)
    except (ConnectionError, TimeoutError) as error:
        raise ExternalServiceError(f"[ray] address {cluster.address!r}: no cluster answers ({error})") from error
    except ValueError as error:
        raise ConfigError(f"[ray] address {cluster.address!r}: {error}") from error
    return cluster
