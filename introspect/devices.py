"""Device names as TensorFlow writes them: `/job:localhost/replica:0/task:0/device:GPU:0`."""

from __future__ import annotations


def read_parts(device: str) -> dict[str, str]:
    """`{"job": "localhost", …, "device": "GPU:0"}`; parts that the name leaves out are absent."""
    return dict(part.split(":", 1) for part in device.split("/") if ":" in part)


def name_type(device: str | None) -> str | None:
    """ "CPU", "GPU", "TPU" …; None where the name says none."""
    if device is None:
        return None
    kind = read_parts(device).get("device", "").partition(":")[0]
    return kind.upper() or None


def is_host(device: str | None) -> bool:
    """Whether the device is a CPU."""
    return name_type(device) == "CPU"


def is_accelerator(device: str | None) -> bool:
    """Whether the device computes and is no CPU."""
    return name_type(device) not in (None, "CPU", "COMPOSITE")


def shorten_device(device: str) -> str:
    """`/job:localhost/replica:0/task:0/device:GPU:0` as `GPU:0`; another job or task than the first stays named."""
    parts = read_parts(device)
    short = parts.get("device", device)
    task = f"{parts.get('job', 'localhost')}:{parts.get('task', '0')}"
    return short if task == "localhost:0" or "device" not in parts else f"{task} {short}"
