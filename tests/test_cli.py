"""The command line: with a made-up api in this process, and as a real one for what needs no TensorFlow."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import introspect
from introspect import api, cli
from introspect.arguments import FORMATS
from introspect.errors import IntrospectError, LoadError
from introspect.outlets import OUTLETS, choose_options
from introspect.rules import RETIRED_IDS, RULES
from tests.outlets.reports import make_gan, make_healthy, make_hostile, make_stale

ROOT = Path(__file__).parent.parent
REPORTS = {"stale.keras": make_stale, "healthy.keras": make_healthy, "gan.keras": make_gan, "evil.keras": make_hostile}


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Puts a made-up `inspect_target` in place of the real one and tells how it was called."""
    seen = []

    def inspect_target(target, **options):
        seen.append((target, options))
        print("a model's code prints this")
        warnings.warn("a library warns of this", stacklevel=1)
        if target not in REPORTS:
            raise LoadError(f"cannot read {target}: no such file; check the path")
        return REPORTS[target]()

    monkeypatch.setattr(api, "inspect_target", inspect_target)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    for name in ("FORCE_COLOR", "COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return seen


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_exit_code_and_text(calls, capsys):
    code, out, err = run(capsys, "stale.keras")
    assert code == 1
    assert "26 of 32 variables that you set trainable do not train" in out
    assert "\x1b" not in out
    assert err == "a model's code prints this\n"
    code, out, _ = run(capsys, "healthy.keras")
    assert code == 0
    assert "✓ The step does what the flags say" in out


def test_all_options_reach_the_api(calls, capsys):
    run(capsys, "healthy.keras")
    assert calls.pop() == (
        "healthy.keras",
        {
            "data_file": None,
            "batch_size": None,
            "optimizer": None,
            "loss": None,
            "jit_compile": None,
            "steps_per_execution": None,
            "custom_objects": None,
            "unsafe": False,
            "measure": False,
            "try_fixes": False,
            "select": (),
            "ignore": (),
        },
    )
    given = "--data d.npz --batch-size 7 --optimizer sgd --loss mse --no-jit-compile --steps-per-execution 3"
    more = "--custom-objects my.layers --unsafe --measure --try-fixes --select INT1,INT2 --select INT3 --ignore INT101"
    run(capsys, "healthy.keras", *given.split(), *more.split())
    assert calls.pop()[1] == {
        "data_file": "d.npz",
        "batch_size": 7,
        "optimizer": "sgd",
        "loss": "mse",
        "jit_compile": False,
        "steps_per_execution": 3,
        "custom_objects": "my.layers",
        "unsafe": True,
        "measure": True,
        "try_fixes": True,
        "select": ("INT1", "INT2", "INT3"),
        "ignore": ("INT101",),
    }


@pytest.mark.parametrize(
    ("severity", "fail_on", "code"),
    [
        ("error", "error", 1),
        ("warning", "error", 0),
        ("warning", "warning", 1),
        ("info", "warning", 0),
        ("error", "never", 0),
    ],
)
def test_fail_on(calls, capsys, monkeypatch, severity, fail_on, code):
    stale = make_stale()
    findings = (dataclasses.replace(stale.findings[0], severity=severity),)
    monkeypatch.setitem(REPORTS, "one.keras", lambda: dataclasses.replace(stale, findings=findings))
    assert run(capsys, "one.keras", "--fail-on", fail_on)[0] == code


def test_failure_is_one_line_and_exit_2(calls, capsys):
    code, out, err = run(capsys, "missing.keras")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == "introspect: cannot read missing.keras: no such file; check the path"
    assert "Traceback" not in err


def test_failure_that_does_not_name_its_target_gets_the_name(calls, capsys, monkeypatch):
    monkeypatch.setattr(api, "inspect_target", lambda *_, **__: (_ for _ in ()).throw(IntrospectError("two\nlines")))
    assert run(capsys, "a.keras")[2] == "introspect: a.keras: two lines\n"


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(0), MemoryError(), AssertionError()])
def test_unforeseen_failure_is_one_line_too(calls, capsys, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(api, "inspect_target", fail)
    code, _, err = run(capsys, "a.keras")
    assert code == 2
    assert re.fullmatch(r"introspect: a\.keras: could not be inspected \(\w+(: \w+)?\); --debug shows .*\n", err)
    code, _, err = run(capsys, "a.keras", "--debug")
    assert code == 2
    assert err.startswith("Traceback (most recent call last):")
    assert err.splitlines()[-1].startswith("introspect: a.keras: could not be inspected")


def test_error_text_acts_on_no_terminal(calls, capsys, monkeypatch):
    monkeypatch.setattr(api, "inspect_target", lambda *_, **__: (_ for _ in ()).throw(IntrospectError("a\x1b[2Jb")))
    assert run(capsys, "a.keras")[2] == "introspect: a.keras: a\\x1b[2Jb\n"


def test_a_folder_that_is_gone_is_one_line(tmp_path):
    command = f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir ../gone; {sys.executable} -m introspect a.keras"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"introspect: .*No such file or directory.*\n", done.stderr)


def test_interrupt_is_quiet(calls, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "inspect_target", stop)
    assert run(capsys, "a.keras") == (130, "", "")


def test_several_targets_one_output(calls, capsys):
    code, out, _ = run(capsys, "stale.keras", "gan.keras", "--format", "json")
    assert code == 1
    assert [report["model"]["name"] for report in json.loads(out)] == ["vgg_finetune", "gan"]
    _, out, _ = run(capsys, "stale.keras", "gan.keras", "--format", "sarif")
    assert len(json.loads(out)["runs"]) == 2
    _, out, _ = run(capsys, "stale.keras", "gan.keras")
    assert out.index("vgg_finetune") < out.index("─" * 80) < out.index("gan (GAN)")


def test_one_target_that_fails_does_not_hide_the_others(calls, capsys):
    code, out, err = run(capsys, "stale.keras", "missing.keras", "gan.keras", "--format", "json")
    assert code == 2
    assert len(json.loads(out)) == 2
    assert "cannot read missing.keras" in err


def test_standard_output_holds_the_report_alone(calls, capsys):
    _, out, err = run(capsys, "stale.keras", "--format", "json")
    assert json.loads(out) == make_stale().to_dict()
    assert "a model's code prints this" in err
    assert "a library warns of this" not in err


def test_debug_lets_warnings_through(calls, capsys):
    with pytest.warns(UserWarning, match="a library warns of this"):
        run(capsys, "healthy.keras", "--debug")


@pytest.mark.parametrize("ending", [".txt", ".json", ".html", ".sarif", ".pb"])
def test_output_file_by_its_ending(calls, capsys, tmp_path, ending):
    path = tmp_path / f"report{ending}"
    code, out, _ = run(capsys, "stale.keras", "-o", str(path))
    assert (code, out) == (1, "")
    whole = tmp_path / f"again{ending}"
    make_stale().save(str(whole))
    assert path.read_bytes() == whole.read_bytes()


def test_format_wins_over_the_ending(calls, capsys, tmp_path):
    run(capsys, "stale.keras", "-o", str(tmp_path / "report.log"), "--format", "json")
    assert json.loads((tmp_path / "report.log").read_text())["schema"] == 1


def test_several_targets_in_one_file(calls, capsys, tmp_path):
    run(capsys, "stale.keras", "gan.keras", "-o", "all.html")
    assert (tmp_path / "all.html").read_text().count("<h1>") == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.keras", "-o", "report.xlsx"], "use one of .txt .json .html .htm .sarif .pb"),
        (["a.keras", "-o", "missing/report.txt"], "does not exist; make it first"),
        (["a.keras", "b.keras", "-o", "report.pb"], "holds one report"),
        (["a.keras", "--select", "INT999"], "'INT999' is not in the catalogue"),
        (["a.keras", "--ignore", "frozen"], "'frozen' is not in the catalogue"),
        ([], "nothing to inspect"),
    ],
)
def test_mistakes_are_told_before_anything_is_loaded(calls, capsys, tmp_path, arguments, said):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert calls == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["--batch-size", "0"], ["--batch-size", "x"], ["--format", "xml"], ["--fail-on", "info"], ["--wrong"]]
)
def test_wrong_options_are_one_line(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(["a.keras", *arguments])
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("introspect: ")
    assert err.count("\n") == 1


def test_logdir_gets_each_report(calls, capsys, monkeypatch, tmp_path):
    from introspect.report import writer

    written = []
    monkeypatch.setattr(writer, "append_report", lambda logdir, report: written.append((logdir, report.model.name)))
    run(capsys, "stale.keras", "gan.keras", "--logdir", "logs")
    assert written == [("logs", "vgg_finetune"), ("logs", "gan")]


def test_logdir_for_real(calls, capsys, tmp_path):
    assert run(capsys, "healthy.keras", "--logdir", "logs")[0] == 0
    assert [path for path in tmp_path.glob("logs/introspect*/*") if path.stat().st_size > 1000]


def test_current_folder_is_searched_for_factories(calls, capsys, tmp_path):
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(tmp_path))]
    run(capsys, "healthy.keras")
    assert sys.path[0] == str(tmp_path)


def test_github_format(calls, capsys):
    _, out, _ = run(capsys, "stale.keras", "--format", "github")
    assert out.startswith("::error file=finetune.py,line=30,title=INT103 ")


def test_narrow_encoding_gets_escapes(calls, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert cli.main(["evil.keras"]) == 1
    assert b"x INT103 trainable-variable-not-updated" in raw.getvalue()
    assert b"\x1b" not in raw.getvalue()


def test_formats_are_those_of_the_outlets():
    assert {*FORMATS, "protobuf"} == {outlet.name for outlet in OUTLETS}


BLOCKER = """
import sys
class Hook:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {banned}:
            raise ImportError("must not be imported: " + name)
sys.meta_path.insert(0, Hook())
from introspect.cli import main
sys.exit(main(sys.argv[1:]))
"""
TENSORFLOW = frozenset({"tensorflow", "keras", "tf_keras", "tensorboard", "jax", "torch"})
SLOW = TENSORFLOW | {"numpy", "rich", "google", "pytest", "asyncio"}


def call(*arguments, banned=frozenset(), **settings) -> subprocess.CompletedProcess[str]:
    source = BLOCKER.format(banned=set(banned) or "()")
    environment = {**os.environ, **settings.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-c", source, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        **settings,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["-h"]])
def test_help_and_version_import_nothing_slow(arguments):
    done = call(*arguments, banned=SLOW)
    assert (done.returncode, done.stderr) == (0, "")
    assert "introspect" in done.stdout


@pytest.mark.parametrize("arguments", [["--list-rules"], ["--explain", "INT101"], ["--explain", "no-gradient"]])
def test_catalogue_needs_no_tensorflow(arguments):
    done = call(*arguments, banned=TENSORFLOW)
    assert (done.returncode, done.stderr) == (0, "")
    assert "INT10" in done.stdout


def test_version_is_the_packages():
    assert call("--version").stdout == f"introspect {introspect.__version__}\n"


def test_help_names_each_option_of_the_contract():
    text = call("--help", env={"COLUMNS": "80"}).stdout
    for option in [
        "--format",
        "--logdir",
        "--data",
        "--batch-size",
        "--optimizer",
        "--loss",
        "--jit-compile",
        "--steps-per-execution",
        "--measure",
        "--try-fixes",
        "--select",
        "--ignore",
        "--fail-on",
        "--custom-objects",
        "--unsafe",
        "--explain",
        "--list-rules",
        "--version",
        "--help",
        "--debug",
        "-o",
    ]:
        assert re.search(rf"(^|\s|\[){option}\b", text), option
    assert "package.module:factory" in text
    assert all(len(line) <= 90 for line in text.splitlines())


def test_help_imports_nothing_heavy():
    """What makes it quick; the seconds are measured by benchmarks/startup.py."""
    script = (
        "import sys, runpy; sys.argv = ['introspect', '--help']\n"
        "try: runpy.run_module('introspect', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'tf_keras', 'numpy', 'rich', 'google.protobuf', 'tensorboard'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr.strip() == "[]"


def test_module_and_script_are_the_same():
    assert subprocess.run(
        [sys.executable, "-m", "introspect", "--version"], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout.startswith("introspect ")


def test_list_rules_lists_all(capsys):
    assert cli.main(["--list-rules"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["Id", "Name", "Severity", "Certainty"]
    assert [line.split()[:2] for line in lines[1:]] == [[rule.id, rule.name] for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_explain_by_id_or_name(capsys, rule):
    for word in (rule.id, rule.id.lower(), rule.name):
        assert cli.main(["--explain", word]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"{rule.id} {rule.name}  ({rule.severity}, {rule.certainty})\n\n{rule.summary}\n")
        assert "\nFix\n" in out


def test_explain_of_an_unknown_rule_offers_near_ones(capsys):
    assert cli.main(["--explain", "frozen-variable-update"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("introspect: no rule has the id or name 'frozen-variable-update'; did you mean frozen-")
    assert cli.main(["--explain", "zzz"]) == 2
    assert "--list-rules shows all" in capsys.readouterr().err


def test_explain_without_docstrings_says_why():
    command = [sys.executable, "-OO", "-m", "introspect", "--explain", "INT103"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "-OO" in done.stdout


def test_explain_of_a_retired_rule(capsys, monkeypatch):
    monkeypatch.setattr("introspect.catalogue.RETIRED_IDS", RETIRED_IDS | {"INT042"})
    assert cli.main(["--explain", "int042"]) == 2
    assert "rule INT042 is retired" in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_no_fault():
    command = f"{sys.executable} -m introspect --help | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    command = f"{sys.executable} -m introspect --list-rules | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("colour", ["", "1"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("streams", "code", "out", "err"),
    [
        (">/dev/full", 2, "", "introspect: cannot write to standard output: No space left on device\n"),
        (">&-", 2, "", "introspect: cannot write to standard output: it is closed; write to a file with -o\n"),
        ("2>&-", 1, "model   vgg_finetune", ""),
        ("2>/dev/full", 1, "model   vgg_finetune", ""),
        ("--fail-on never | true; exit ${PIPESTATUS[0]}", 0, "", ""),
        ("--bogus 2>&-", 2, "", ""),
        ("--select INT999 2>&-", 2, "", ""),
        ("--select INT999 2>/dev/full", 2, "", ""),
        ("--help >/dev/full", 0, "", ""),
        ("--help | true; exit ${PIPESTATUS[0]}", 0, "", ""),
        ("--version >/dev/full", 2, "", "introspect: cannot write to standard output: No space left on device\n"),
    ],
)
def test_streams_that_are_full_or_closed(tmp_path, streams, code, out, err, unbuffered, colour):
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER.format(root=str(ROOT)).replace('["stale.keras"]', '["stale.keras", *sys.argv[1:]]'))
    command = f"{sys.executable} {driver} {streams}"
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered, "FORCE_COLOR": colour, "TERM": "dumb"}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (code, err)
    assert done.stdout == "" if not out else out in re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)


MESSY = """
import os, subprocess, sys
sys.path.insert(0, {root!r})
from introspect import api, cli
from tests.outlets.reports import make_stale
def inspect_target(target, **options):
    print("from Python")
    os.write(1, b"from C\\n")
    subprocess.run(["echo", "from a program"])
    os.chdir("/")
    return make_stale()
api.inspect_target = inspect_target
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs echo")
def test_nothing_that_a_models_code_does_reaches_the_output(tmp_path):
    command = [sys.executable, "-c", MESSY.format(root=str(ROOT)), "stale.keras", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout) == make_stale().to_dict()
    assert set(done.stderr.splitlines()) == {"from Python", "from C", "from a program"}
    assert subprocess.run([*command, "-o", "here.json"], cwd=tmp_path, capture_output=True).stdout == b""
    assert json.loads((tmp_path / "here.json").read_text()) == make_stale().to_dict()


@pytest.mark.parametrize(
    ("target", "factory"),
    [
        ("package.module:make", True),
        ("module:Shelf.make", True),
        ("module:", False),
        ("module:Shelf.", False),
        ("a/b:make", False),
        ("model.keras", False),
    ],
)
def test_what_names_a_factory(target, factory):
    assert api.is_factory(target) is factory


@pytest.mark.parametrize("form", ["json", "html", "sarif", "github"])
def test_what_programs_read_is_utf8(calls, monkeypatch, form):
    outlet = next(outlet for outlet in OUTLETS if outlet.name == form)
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252"))
    assert cli.main(["evil.keras", "--format", form]) == 1
    assert raw.getvalue().decode() == outlet.render([make_hostile()], choose_options())


DRIVER = """
import sys
sys.path.insert(0, {root!r})
from introspect import api, cli
from tests.outlets.reports import make_stale
api.inspect_target = lambda target, **options: make_stale()
sys.exit(cli.main(["stale.keras"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("env", "colours"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_on_a_terminal(env, colours):
    import pty

    out, terminal = pty.openpty()
    settings = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **env}
    for name in ("FORCE_COLOR", "COLUMNS", *({"NO_COLOR"} - set(env))):
        settings.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER.format(root=str(ROOT))], stdout=terminal, stderr=subprocess.PIPE, env=settings
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            piece = os.read(out, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, b""), "progress is for a terminal only"
    assert (re.search(rb"\x1b\[[0-9;]*3[0-9]m", shown) is not None) is colours
    plain = re.sub(rb"\x1b\[[0-9;]*m", b"", shown).decode()
    assert "26 of 32 variables that you set trainable do not train" in plain


def test_rules_may_be_one_text_or_several():
    apart = api.choose_rules(("INT103", "INT104"))
    assert [rule.id for rule in apart] == ["INT103", "INT104"]
    assert api.choose_rules("INT103, INT104") == api.choose_rules(["INT103,INT104"]) == apart
    assert api.choose_rules((), "INT1") == tuple(rule for rule in RULES if not rule.id.startswith("INT1"))
