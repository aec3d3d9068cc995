"""Tables on narrow terminals."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from edgekit.console.narrow import lines_of, print_pairs, print_table
from edgekit.console.terminal import new_table

EXPORTED = ("artifact", "precision", "#KiB", "#top-1 %", "#agreement %", "layout", "inputs", "#accelerated")
PHONE = (
    "android-arm64/fashion_mnist.tflite",
    "int8",
    "1,119.3",
    "91.70",
    "99.40",
    "nhwc",
    "image float32[1x28]",
    "25/25",
)
PC = ("x86-64/fashion_mnist.onnx", "mixed", "142.1", "91.80", "100.00", "keep", "image float32[1x28]", "27/27")


def table_of(columns: tuple[str, ...], *rows: tuple[str, ...]) -> Table:
    table = new_table(*columns)
    for row in rows:
        table.add_row(*row)
    return table


def shown(table: Table, width: int, *, plainly: bool = False) -> list[str]:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    if plainly:
        console.print(table)
    else:
        print_table(console, table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [140, 160, 400])
def test_a_table_that_fits_is_as_it_was(width: int) -> None:
    table = table_of(EXPORTED, PHONE, PC)
    assert shown(table, width) == shown(table, width, plainly=True)


def test_what_goes_to_a_pipe_is_as_it_was() -> None:
    table = table_of(EXPORTED, (200 * "long", *PHONE[1:]))
    assert shown(table, 160) == shown(table, 160, plainly=True)


def test_headers_and_paths_go_over_lines_first() -> None:
    lines = shown(table_of(EXPORTED, PHONE, PC), 100)
    assert max(map(len, lines)) <= 100
    assert any(line.split() == ["fashion_mnist.tflite", "float32[1x28]"] for line in lines)
    (row,) = (line for line in lines if "android-arm64/" in line)
    assert row.split() == ["android-arm64/", "int8", "1,119.3", "91.70", "99.40", "nhwc", "image", "25/25"]


def test_else_every_row_is_a_few_lines_with_nothing_left_out() -> None:
    lines = shown(table_of(EXPORTED, PHONE, PC), 70)
    assert lines == [
        "",
        "android-arm64/fashion_mnist.tflite",
        "    precision int8    KiB 1,119.3   top-1 % 91.70   agreement %  99.40",
        "    layout nhwc   inputs image float32[1x28]   accelerated 25/25",
        "x86-64/fashion_mnist.onnx",
        "    precision mixed   KiB   142.1   top-1 % 91.80   agreement % 100.00",
        "    layout keep   inputs image float32[1x28]   accelerated 27/27",
        "",
    ]


def test_a_row_that_goes_on_with_the_one_above_has_no_name() -> None:
    lines = shown(
        table_of(("artifact", "", "#ratio"), ("x/a_long_name.onnx", "unpruned", ""), ("", "pruned", "0.9")), 24
    )
    assert lines == ["", "x/a_long_name.onnx", "    unpruned", "    pruned     ratio 0.9", ""]


WORDS = st.text("abc[]/% 1", max_size=12)


@given(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=4), st.integers(10, 60))
def test_no_character_is_lost_and_no_line_too_long_for_what_it_holds(rows: list[tuple[str, ...]], width: int) -> None:
    lines = shown(table_of(("artifact", "what", "#figure"), *rows), width)
    told = "".join("".join(lines).split())
    for row in rows:
        for character in set("".join("".join(row).split())):
            assert told.count(character) >= "".join(cell for each in rows for cell in each).count(character)
    longest = max(len(f"figure {row[2]}") for row in rows)
    assert max(map(len, lines)) <= max(width, 4 + longest, 4 + len("what ") + 12, 12)


FIGURES = ("  run  ", "artifact", "#median ms", "")
RUNS = [("    :0", "x86-64/toy.onnx", "12.5", "throttled"), ("    :1", "toy.mnn", "3.25", "")]


def test_rows_are_lines_where_they_fit() -> None:
    title, rows = lines_of(FIGURES, RUNS, 50)
    assert title == "  run    artifact         median ms"
    assert rows == [["    :0   x86-64/toy.onnx       12.5  throttled"], ["    :1   toy.mnn               3.25"]]


def test_rows_that_do_not_fit_are_a_few_lines() -> None:
    title, rows = lines_of(FIGURES, RUNS, 30, names=2)
    assert title == ""
    assert rows == [
        ["    :0  x86-64/toy.onnx", "        median ms 12.5", "        throttled"],
        ["    :1  toy.mnn", "        median ms 3.25"],
    ]


def test_no_rows_are_no_lines() -> None:
    assert lines_of(FIGURES, [], 10, names=2) == ("", [])


@given(st.lists(st.tuples(WORDS, WORDS, WORDS, WORDS), max_size=4), st.integers(1, 60), st.integers(1, 3))
def test_each_row_has_its_lines(rows: list[tuple[str, ...]], width: int, names: int) -> None:
    _, found = lines_of(FIGURES, rows, width, names)
    assert len(found) == len(rows)
    for lines, row in zip(found, rows, strict=True):
        told = "".join("".join(lines).split())
        assert all("".join(cell.split()) in told for cell in row)


def pairs_shown(width: int, *pairs: tuple[str, str]) -> list[str]:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    print_pairs(console, pairs)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_long_value_goes_on_below_its_beginning() -> None:
    assert pairs_shown(30, ("path", "a_folder/another/file.onnx"), ("measured by", ""), ("sha256", 30 * "a")) == [
        "  path          a_folder/",
        "                another/",
        "                file.onnx",
        "  measured by",
        f"  sha256        {30 * 'a'}",
    ]


def test_a_pipe_gets_a_line_for_each_pair() -> None:
    assert pairs_shown(160, ("path", "folder/" * 40)) == ["  path   " + "folder/" * 40]


def test_no_pairs_are_nothing() -> None:
    assert pairs_shown(80) == []
