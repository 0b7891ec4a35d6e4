"""The house rules that no linter knows: purity of the inner rings, and sizes that fit a head."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PURE = ("rafka/core", "rafka/net", "rafka/observe", "rafka/client")
FACES = {
    f"rafka/client/{name}.py"
    for name in ("aio", "asynchronous", "blocking", "driving", "on_trio", "selecting", "world")
}
"""What drives the client's machines; they themselves are pure."""
GENERATED = ("rafka/core/api/", "rafka/core/stored/")
FORBIDDEN_CALLS = {"open", "print", "input", "id", "hash"}
FUNCTION_LINES = 60
FILE_LINES = 600

Function = ast.FunctionDef | ast.AsyncFunctionDef


def impurities(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            yield f"{node.lineno}: calls {node.func.id}()"
        elif isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield f"{node.lineno}: is asynchronous"
        elif isinstance(node, ast.Global):
            yield f"{node.lineno}: has global state"
        elif isinstance(node, ast.ExceptHandler) and catches_all(node.type):
            yield f"{node.lineno}: catches everything"


def catches_all(kind):
    names = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return kind is None or any(
        isinstance(n, ast.Name) and n.id in {"Exception", "BaseException"} for n in names
    )


def oversizes(tree, lines):
    if lines > FILE_LINES:
        yield f"1: {lines} lines"
    for node in ast.walk(tree):
        if isinstance(node, Function) and node.end_lineno - node.lineno + 1 > FUNCTION_LINES:
            yield f"{node.lineno}: {node.name} is {node.end_lineno - node.lineno + 1} lines long"


def complaints(path):
    text = path.read_text("utf-8")
    if not text.strip():
        return
    name = path.relative_to(ROOT).as_posix()
    tree = ast.parse(text)
    if ast.get_docstring(tree) is None:
        yield "1: has no docstring"
    if name.startswith(PURE) and name not in FACES:
        yield from impurities(tree)
    if not name.startswith(GENERATED):
        yield from oversizes(tree, text.count("\n"))


def test_every_module_of_the_package_keeps_the_house_rules():
    modules = sorted((ROOT / "rafka").rglob("*.py"))
    assert len(modules) > 10
    assert [f"{p.relative_to(ROOT)}:{c}" for p in modules for c in complaints(p)] == []


@pytest.mark.parametrize(
    "source",
    [
        "open('x')",
        "print(1)",
        "hash(x)",
        "id(x)",
        "input()",
        "async def f(): pass",
        "def f():\n global x",
        "try:\n f()\nexcept Exception:\n pass",
        "try:\n f()\nexcept (ValueError, BaseException):\n pass",
        "try:\n f()\nexcept:\n pass",
    ],
)
def test_an_impurity_is_found(source):
    assert len(list(impurities(ast.parse(source)))) == 1


@pytest.mark.parametrize("source", ["self.open(x)", "try:\n f()\nexcept KeyError:\n pass", "def f(): yield"])
def test_what_is_pure_is_left_alone(source):
    assert list(impurities(ast.parse(source))) == []


def test_a_long_function_and_a_long_file_are_found():
    long_function = "def f():\n" + " x\n" * FUNCTION_LINES
    assert list(oversizes(ast.parse(long_function), 61)) == ["1: f is 61 lines long"]
    assert list(oversizes(ast.parse("x"), FILE_LINES + 1)) == ["1: 601 lines"]
