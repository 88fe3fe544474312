"""The versions that introspect claims, each in an environment of its own: nox -f tests/noxfile.py [-s oldest]."""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.sessions = ["newest", "middle", "oldest", "legacy_keras", "plain_protobuf_6", "plain_protobuf_7"]
TOOLS = ("pytest", "pytest-xdist", "hypothesis", "ipython", "jsonschema", "setuptools<81")
CORE = ("tests/capture", "tests/callback", "tests/fixes", "tests/rules", "tests/measure", "tests/test_assertions.py")
"""What meets TensorFlow's and Keras' own names: the rest does not depend on their versions."""
NEWEST = ("tensorflow==2.21.*", "keras==3.15.*", "tf_keras==2.21.*")


def run_tests(
    session: nox.Session, *packages: str, tests: tuple[str, ...] = ("tests",), marks: str = "", **variables: str
) -> None:
    """Install the package with the given versions beside it, and run the tests."""
    session.chdir(Path(__file__).parent.parent)
    session.install("-e", ".", *TOOLS, *packages)
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", **variables}
    session.run("python", "-m", "pytest", "-q", "-m", marks, *(session.posargs or tests), env=environment)


@nox.session(python="3.11")
def newest(session: nox.Session) -> None:
    """TensorFlow 2.21, Keras 3.15, tf_keras 2.21."""
    run_tests(session, *NEWEST, marks="not browser and not gpu")


@nox.session(python="3.11")
def middle(session: nox.Session) -> None:
    """TensorFlow 2.20, Keras 3.14, tf_keras 2.20."""
    packages = ("tensorflow==2.20.*", "keras==3.14.*", "tf_keras==2.20.*", "tensorboard==2.20.*")
    run_tests(session, *packages, tests=CORE, marks="not slow and not gpu")


@nox.session(python="3.11")
def oldest(session: nox.Session) -> None:
    """TensorFlow 2.19, Keras 3.13, tf_keras 2.19, and with them protobuf 5."""
    packages = ("tensorflow==2.19.*", "keras==3.13.*", "tf_keras==2.19.*", "tensorboard==2.19.*", "protobuf==5.29.*")
    run_tests(session, *packages, tests=CORE, marks="not slow and not gpu")


@nox.session(python="3.11")
def legacy_keras(session: nox.Session) -> None:
    """The newest with TF_USE_LEGACY_KERAS=1: tf.keras is tf_keras, and Keras 3 stands beside it."""
    run_tests(session, *NEWEST, tests=CORE, marks="not slow and not gpu", TF_USE_LEGACY_KERAS="1")


@nox.session(python="3.11")
def plain_protobuf_6(session: nox.Session) -> None:
    """Without TensorFlow: reports, outlets, plugin, command line, on protobuf 6.31.1."""
    run_tests(session, "protobuf==6.31.1", marks="not tf and not browser and not slow and not gpu")


@nox.session(python="3.11")
def plain_protobuf_7(session: nox.Session) -> None:
    """The same on protobuf 7."""
    run_tests(session, "protobuf==7.*", marks="not tf and not browser and not slow and not gpu")
