"""Tables on narrow terminals."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from edgekit.console.narrow import print_table
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
