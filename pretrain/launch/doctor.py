"""`make doctor`: what a run would fail on after an hour in the queue, said at once: GPUs, driver, NCCL, memory, disk.

Checks this machine against `[pretrain]` of a run file, then lets the real launcher start every rank of the layout for one sum
over all of them (`pretrain.launch.probe`). The first thing that would not work ends it with one line and exit status 2.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import cli
from pipeline.errors import ConfigError, DiskFull, ExternalServiceError, PipelineError
from pipeline.progress import echo
from pretrain import cost
from pretrain.cost import GiB
from pretrain.launch.ranks import rank_command, rank_environment
from pretrain.settings import Parallel, Precision, PretrainSettings

USABLE = 0.92  # of a GPU's memory: the rest is for CUDA's context, NCCL's buffers and fragmentation (assumed, not measured)
PROBE_SECONDS = 300  # for every rank to start, load torch and find the others


@dataclass(frozen=True)
class Machine:
    """What a machine has, as far as training cares."""

    gpus: tuple[tuple[str, int], ...]  # name and bytes of each that torch can use
    memory: int  # bytes of main memory that are free
    bf16: bool  # whether the GPUs multiply it
    torch: str
    cuda: str  # that torch was built with; "": none
    nccl: str  # "": none
    driver: str  # NVIDIA's, as nvidia-smi says; "": none
    driver_gpus: int
    transformer_engine: str  # its version; "": not installed
    transformer_engine_error: str  # why an installed Transformer Engine cannot be loaded


def inspect_machine(*, gpu: bool = True) -> Machine:
    """Look at this machine; torch is loaded here."""
    if not gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # as launch.py starts the ranks, so nothing is seen that they would not see
    import torch
    from torch.cuda import nccl

    driver, count = _nvidia_smi() if gpu else ("", 0)
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    devices = [torch.cuda.get_device_properties(number) for number in range(found)]
    engine, transformer_engine_error = _transformer_engine() if found else ("", "")
    return Machine(
        gpus=tuple((device.name, device.total_memory) for device in devices),
        memory=_free_memory(),
        bf16=bool(found) and torch.cuda.is_bf16_supported(including_emulation=False),
        torch=torch.__version__,
        cuda=torch.version.cuda or "",
        nccl=".".join(map(str, nccl.version())) if found and torch.distributed.is_nccl_available() else "",
        driver=driver,
        driver_gpus=count,
        transformer_engine=engine,
        transformer_engine_error=transformer_engine_error,
    )


def check_devices(settings: PretrainSettings, machine: Machine) -> list[str]:
    """What computes, in words.

    Raises: ConfigError if torch cannot use what is there, or the layout wants more than that.
    """
    layout = settings.parallel
    if not layout.gpu or not machine.gpus:
        if layout.gpu and machine.driver_gpus:
            why = f"it wants CUDA {machine.cuda}, more than the driver offers" if machine.cuda else "it is built for the CPU"
            raise ConfigError(
                f"{machine.driver_gpus} NVIDIA GPU(s) here, driver {machine.driver}, but torch {machine.torch} cannot use "
                f"them: {why}; install a torch that fits, or set [pretrain.parallel] gpu = false"
            )
        return [f"CPU で計算します (torch {machine.torch})" + ("。GPU は見つかりません" if layout.gpu else "")]
    here, name = ranks_per_node(layout), machine.gpus[0][0]
    if here > len(machine.gpus):
        raise ConfigError(
            f"[pretrain.parallel]: {here} processes on this node, but it has {len(machine.gpus)} GPU(s); lower data, tensor or "
            f"pipeline, add nodes, or set gpu = false"
        )
    if not machine.nccl:
        raise ConfigError(f"torch {machine.torch} has no NCCL, which GPUs talk through; install a build of torch that has it")
    if settings.precision == "bf16" and not machine.bf16:
        raise ConfigError(f'{name} does not multiply bf16; set [pretrain] precision = "fp32"')
    if machine.transformer_engine_error:
        raise ConfigError(
            f"Transformer Engine is installed but cannot be loaded: {machine.transformer_engine_error}; mend or uninstall it"
        )
    said = [
        f"GPU: {name} × {len(machine.gpus)}、ドライバー {machine.driver or '不明'}、CUDA {machine.cuda}、NCCL {machine.nccl}",
        f"Transformer Engine: {machine.transformer_engine or 'なし (torch の注意機構を使います)'}",
    ]
    if here < len(machine.gpus):
        said.append(f"注意: このノードの GPU {len(machine.gpus)} 枚のうち {here} 枚しか使いません")
    if layout.tensor > here:
        said.append(f"注意: tensor = {layout.tensor} がノードをまたぎます。ノード内の {here} 以下にすると速くなります")
    return said


def check_memory(settings: PretrainSettings, vocab_size: int, precision: Precision, machine: Machine) -> str:
    """The estimate beside what is there, in words.

    Raises: ConfigError if the fullest rank would not fit.
    """
    layout, on_gpu = settings.parallel, settings.parallel.gpu and bool(machine.gpus)
    part = cost.estimate_memory(settings, vocab_size, precision, gpu=on_gpu)
    ranks = 1 if on_gpu else ranks_per_node(layout)
    have = min(size for _, size in machine.gpus) * USABLE if on_gpu else machine.memory
    where = "a GPU" if on_gpu else "this machine, which has no GPU to use,"
    sizes = ", ".join(
        f"{name} {getattr(part, name) / GiB:.1f}" for name in ("weights", "gradients", "optimizer", "activations", "logits")
    )
    if part.total * ranks > have:
        raise ConfigError(
            f"[pretrain.parallel]: the {'fullest rank needs' if ranks == 1 else f'{ranks} ranks need'} about "
            f"{part.total * ranks / GiB:.1f} GiB ({sizes} GiB a rank), {where} offers {have / GiB:.1f}; lower micro_batch, "
            f"raise tensor or pipeline, or set distributed_optimizer = true"
        )
    unit = "GPU 1 枚" if on_gpu else f"{ranks} プロセス"
    return f"メモリー見積り: {unit}で {part.total * ranks / GiB:.1f} GiB / 使える {have / GiB:.1f} GiB ({precision}、{sizes})"


def check_disk(settings: PretrainSettings, vocab_size: int, precision: Precision, root: Path) -> str:
    """What the run will write beside what is free below `root`, its artifact, in words.

    Raises: DiskFull if it does not fit.
    """
    place = next(folder for folder in (root, *root.absolute().parents) if folder.is_dir())
    one = cost.checkpoint_bytes(settings, vocab_size, precision)
    weights = settings.model.parameters(vocab_size, settings.seq_length) * 4  # the export, at most fp32
    there = sum(path.stat().st_size for path in (root / "checkpoints").glob("*/*") if path.is_file())
    need = max(one * (settings.keep + 1) - there, 0) + weights  # the newest is whole before the oldest goes
    free = shutil.disk_usage(place).free
    if need > free:
        raise DiskFull(
            f"{place}: {free / GiB:.1f} GiB free, the run needs {need / GiB:.1f}: {settings.keep + 1} checkpoints of "
            f"{one / GiB:.1f} and an export of {weights / GiB:.1f}; free some, or lower [pretrain] keep"
        )
    return f"ディスク: 必要 {need / GiB:.1f} GiB / 空き {free / GiB:.1f} GiB ({place})"


def check_ranks(settings: PretrainSettings) -> str:
    """Start every rank and sum over all of them, in words.

    Raises: ExternalServiceError with the last line that a rank said.
    """
    layout = settings.parallel
    with tempfile.TemporaryDirectory(dir=Path.cwd() if layout.launcher else None) as folder:  # other nodes see the checkout
        result, log = Path(folder) / "probe.json", Path(folder) / "log"
        words = rank_command(layout, [str(result)], module="pretrain.launch.probe")
        with log.open("wb") as stderr:
            try:
                subprocess.run(
                    words, stdout=stderr, stderr=stderr, env=rank_environment(layout), timeout=PROBE_SECONDS, check=False
                )
                how = "the ranks ended without a sum"
            except subprocess.TimeoutExpired:
                how = f"no sum within {PROBE_SECONDS} s"
            except OSError as error:
                raise ConfigError(f"[pretrain.parallel] launcher: {words[0]} cannot be started ({error.strerror})") from error
        if not result.exists():
            lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if "Error" in line]
            raise ExternalServiceError(
                f"{layout.processes} processes: {how}: {lines[0] if lines else 'they said nothing'}; look at the network "
                f"(NCCL_SOCKET_IFNAME, GLOO_SOCKET_IFNAME), the launcher and every node's GPUs"
            )
        told = json.loads(result.read_text("utf-8"))
    return f"通信: {told['ranks']} プロセス ({told['backend']}) で総和が一致、{told['bytes_per_second'] / 1e9:.2f} GB/s"


def ranks_per_node(layout: Parallel) -> int:
    """Processes on each node: the launcher's --nnodes says on how many.

    Raises: ConfigError if they do not divide.
    """
    said = [word.partition("=")[2] for word in layout.launcher if word.startswith("--nnodes=")]
    nodes = int(said[0]) if said and said[0].isdigit() else 1
    if layout.processes % nodes:
        raise ConfigError(f"[pretrain.parallel]: {layout.processes} processes do not divide over {nodes} nodes")
    return layout.processes // nodes


def _nvidia_smi() -> tuple[str, int]:
    """Version of the driver and number of GPUs; ("", 0) where there is no driver."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "", 0
    rows = done.stdout.split()
    return (rows[0], len(rows)) if rows else ("", 0)


def _transformer_engine() -> tuple[str, str]:
    """Its version, and why it cannot be loaded; both "" if it is not installed."""
    from importlib import metadata

    try:
        version = metadata.version("transformer_engine")
    except metadata.PackageNotFoundError:
        return "", ""
    try:
        import transformer_engine.pytorch  # noqa: F401 # pyright: ignore[reportMissingImports] - only where it is installed
    except (ImportError, OSError, RuntimeError) as error:  # wrong CUDA, wrong torch, no cuDNN
        return version, str(error).splitlines()[0] if str(error) else repr(error)
    return version, ""


def _free_memory() -> int:
    """Bytes of main memory that can be had without swapping."""
    rows = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text("utf-8").splitlines())
    return int(rows["MemAvailable"].split()[0]) * 1024


def main(argv: Sequence[str] | None = None) -> None:
    """Check one thing after the other; the first that is wrong ends it."""
    parser = cli.run_parser("pretrain.launch.doctor", __doc__ or "")
    parser.add_argument("--alone", action="store_true", help="look at this node only, start no ranks")
    arguments = parser.parse_args(argv)
    run = cli.open_run(arguments)
    settings, vocab_size = run.settings("pretrain", PretrainSettings), cost.vocabulary_size(run)
    machine = inspect_machine(gpu=settings.parallel.gpu)
    from pretrain import runtime

    try:
        for line in check_devices(settings, machine):
            echo(line)
        precision = runtime.resolve_precision(settings.precision)
        echo(check_memory(settings, vocab_size, precision, machine))
        echo(check_disk(settings, vocab_size, precision, run.root("pretrain")))
        if settings.parallel.processes > 1 and not arguments.alone:
            echo(check_ranks(settings))
    except PipelineError as error:
        raise type(error)(f"{run.path}: {error}") from error
    echo("この設定で学習を始められます。")


if __name__ == "__main__":
    cli.stage_main(main)
