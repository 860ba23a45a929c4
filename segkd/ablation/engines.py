"""Where cells run: processes of this machine, or tasks of a ray cluster."""

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, final

from segkd.ablation.cell import STOPPED
from segkd.types import InputError


class Job(ABC):
    """A cell at work."""

    @abstractmethod
    def poll(self) -> int | None:
        """Its exit status, or None while it works."""

    @abstractmethod
    def stop(self) -> None:
        """Asks it to save and leave."""


class Engine(ABC):
    """Where cells run."""

    @abstractmethod
    def start(self, folder: Path, slot: int) -> Job:
        """Starts the cell of `folder`; `slot` numbers those that run side by side from 0."""


@final
class LocalJob(Job):
    """A process of this machine."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process

    def poll(self) -> int | None:
        """Its exit status, or None."""
        return self.process.poll()

    def stop(self) -> None:
        """SIGTERM: training saves a checkpoint and leaves."""
        self.process.terminate()


@final
class LocalEngine(Engine):
    """Processes of this machine with `threads` CPU threads each; where there are GPUs, one after the other in turn."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def start(self, folder: Path, slot: int) -> Job:
        """Starts a process whose output goes to log.txt."""
        return LocalJob(spawn(folder, self.threads, visible_device(slot)))


@final
class RayJob(Job):
    """A task of a ray cluster."""

    def __init__(self, reference: Any) -> None:
        self.reference = reference

    def poll(self) -> int | None:
        """Its exit status, or None."""
        import ray

        ready, _ = ray.wait([self.reference], timeout=0)
        if not ready:
            return None
        try:
            return int(ray.get(self.reference))
        except (ray.exceptions.RayError, KeyboardInterrupt):
            return STOPPED

    def stop(self) -> None:
        """Cancels the task; the cell sees its standard input close, saves and leaves."""
        import ray

        ray.cancel(self.reference)


@final
class RayEngine(Engine):
    """A ray cluster (RAY_ADDRESS, or a local one of as many CPUs as are asked for); folders must be shared by all."""

    def __init__(self, threads: int, processes: int) -> None:
        try:
            import ray
        except ImportError as error:
            raise InputError("--engine ray needs ray: pip install 'segkd[ray]'. Or use --engine local.") from error
        here: dict[str, Any] = {"num_cpus": processes * threads, "include_dashboard": False}
        ray.init(ignore_reinit_error=True, log_to_driver=False, **({} if os.environ.get("RAY_ADDRESS") else here))
        gpus = min(1.0, ray.cluster_resources().get("GPU", 0.0) / processes)
        self.threads = threads
        self.remote = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0)(wait_for)

    def start(self, folder: Path, slot: int) -> Job:
        """Hands the cell to the cluster, which picks machine and GPU."""
        return RayJob(self.remote.remote(str(folder.resolve()), self.threads, str(Path.cwd())))


def default_processes(threads: int) -> int:
    """One cell for each GPU; without any, as many as the cores carry."""
    import torch

    return torch.cuda.device_count() or max(1, (os.cpu_count() or 1) // threads)


def spawn(folder: Path, threads: int, device: str | None = None, home: str | None = None) -> subprocess.Popen:
    """The process of a cell; it ends by itself when the writing end of its standard input closes.

    It runs in the folder `home` (the working directory if None), where a user's own classes are.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    if device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = device
    package = str(Path(__file__).parent.parent.parent)  # what we run is what cells run, installed or not
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH")]))
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            # -P: the working directory, where the plan's own classes may lie, comes last (`models.trust.seek_beside`)
            [sys.executable, "-P", "-m", "segkd.ablation.cell", str(folder.absolute())],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=home,
            start_new_session=True,  # Ctrl-C is for the grid, which tells its cells
        )


def wait_for(folder: str, threads: int, home: str) -> int:
    """Runs a cell to its end (the body of a ray task)."""
    process = spawn(Path(folder), threads, home=home)
    try:
        return process.wait()
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.wait()


def visible_device(slot: int) -> str | None:
    """The GPU of a slot as CUDA_VISIBLE_DEVICES wants it; None without GPUs."""
    import torch

    if not torch.cuda.is_available():
        return None
    given = [d for d in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]
    devices = given or [str(i) for i in range(torch.cuda.device_count())]
    return devices[slot % len(devices)]
