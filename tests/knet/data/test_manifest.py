"""CSV manifests."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knet.base.errors import UserError
from knet.data.folders import Folder
from knet.data.manifest import read_manifest
from knet.data.source import ImageFile

Read = Callable[..., dict[ImageFile, int]]
HEADER = "path,label,group\n"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads a manifest of this content, in a folder that holds a.png, b.png and x/c.png."""
    for name in ("a.png", "b.png", "x/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"12")

    def make(content: str | bytes) -> dict[ImageFile, int]:
        file = tmp_path / "manifest.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return dict(read_manifest(file, Folder(tmp_path), classes=("benign", "malignant")))

    return make


def test_read_manifest_sorts_images_and_keeps_columns(read: Read) -> None:
    images = read("stain,path,label,group,site\nHE,x/c.png,malignant,2,lung\nHE,a.png,benign,1,breast\n")
    assert list(images.items()) == [
        (ImageFile("a.png", "benign", "1", (("stain", "HE"), ("site", "breast"))), 2),
        (ImageFile("x/c.png", "malignant", "2", (("stain", "HE"), ("site", "lung"))), 2),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffpath,label,group\r\na.png,benign,1\r\n",  # as Excel writes it
        'path,label,group\n"a.png","benign","1"',
        "path,label,group\n\na.png,benign,1\n\n",
        "path;label;group\na.png;benign;1\n",
        "path\tlabel\tgroup\na.png\tbenign\t1\n",
        "Path,Label, GROUP\na.png,benign,1\n",
        ",path,label,group\n0,a.png,benign,1\n",  # the index of pandas' to_csv
        "Unnamed: 0,path,label,group\n0,a.png,benign,1\n",  # after a second to_csv
    ],
)
def test_read_manifest_accepts_files_of_spreadsheets(read: Read, content: str) -> None:
    assert list(read(content)) == [ImageFile("a.png", "benign", "1")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "lacks the column path: its first line must name path, label, group"),
        ("path,label\n", "lacks the column group"),
        ("filename,class\n", r"lacks the column path: .* path, label, group; it names 'filename', 'class'"),
        ("path,label,group,path\n", "has two columns named path"),
        ("path,label,group,Path\n", "has two columns named path"),
        ("path,label,group,split\n", "a column cannot be named 'split'"),
        ("path,label,group,patient\n", "a column cannot be named 'patient'"),
        (
            "path,label,group,Stain (HE)\n",
            r"a column cannot be named 'stain_\(he\)'; use small letters",
        ),
        ("path,label,group,image/width\n", "a column cannot be named 'image/width'"),
        (HEADER, "names no images"),
        (HEADER + "a.png,benign\n", r"(?s)^1 mistake in .*line 2: 2 values for 3 columns"),
        (HEADER + "a.png,benign,1\nb.png,benign,\n", "line 3: group is empty"),
        (HEADER + "a.png,odd,1\n", "line 2: label 'odd' is not one of data.classes, benign and malignant"),
        (HEADER + "a.png,benign,1\n\na.png,benign,2\n", "line 4: a.png is on line 2 too"),
        (HEADER + "a.png,benign,1\n./a.png,benign,2\n", r"line 3: a\.png is on line 2 too"),
        (HEADER + "../a.png,benign,1\n", r"line 2: \.\./a\.png leads out of"),
        (
            HEADER + "/a.png,benign,1\n",
            "line 2: /a.png leads out of .*; paths are relative to it, or absolute",
        ),
        (HEADER + "C:\\images\\a.png,benign,1\n", "line 2: C:/images/a.png leads out of"),
        (HEADER + "..\\a.png,benign,1\n", "line 2: ../a.png leads out of"),
        (HEADER + "x/..\\..\\a.png,benign,1\n", "line 2: .* leads out of"),
        (HEADER + "a\x07.png,benign,1\n", "line 2: path holds a character that cannot be printed"),
        (HEADER + "a.png,benign,1\nb.png,benign,1 \n", "line 3: group '1 ' begins or ends with white space"),
        (HEADER + "a.png,benign,1\nb.png,benign,\u20091\n", "line 3: group holds a character that cannot"),
        (HEADER + " a.png,benign,1\n", "line 2: path ' a.png' begins or ends with white space"),
        (HEADER + "a.png,benign ,1\n", "line 2: label 'benign ' begins or ends with white space"),
        ("path,label,group,stain\na.png,benign,1, HE\n", "line 2: stain ' HE' begins or ends with"),
        (HEADER + "a.png,benign,e\u0301\n", "line 2: group 'e\u0301' is not in Unicode's normal form NFC"),
        (
            HEADER + "a.png,benign,p1\nb.png,benign,P1\nx/c.png,benign,P1\n",
            r"(?s)2 mistakes .*line 3: group 'P1' and an earlier 'p1' differ by case alone.*line 4: group",
        ),
        (
            HEADER + "a.png,benign,1\nd.png,benign,1\n",
            r"(?s)lacks 1 file of .*line 3: d\.png.*data\.root",
        ),
        (HEADER + '"a.png,benign,1\n', "not CSV"),
        (HEADER.encode() + b"\xff.png,benign,1\n", "is not a text file in UTF-8"),
    ],
)
def test_read_manifest_names_the_line_of_a_mistake(read: Read, content: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(content)


def test_read_manifest_accepts_windows_and_absolute_paths_below_the_source(
    read: Read, tmp_path: Path
) -> None:
    link = tmp_path.with_name(f"{tmp_path.name}-link")
    link.symlink_to(tmp_path)
    rows = f"{tmp_path}/a.png,benign,1\n{link}/b.png,benign,1\nx\\c.png,malignant,2\n"
    assert [image.path for image in read(HEADER + rows)] == ["a.png", "b.png", "x/c.png"]
    with pytest.raises(UserError, match=r"line 3: a\.png is on line 2 too"):
        read(f"{HEADER}a.png,benign,1\n{tmp_path}/a.png,benign,1\n")


def test_read_manifest_accepts_paths_as_on_disk(read: Read, tmp_path: Path) -> None:
    (tmp_path / "e\u0301.png").touch()
    assert list(read(HEADER + "e\u0301.png,benign,1\n")) == [ImageFile("e\u0301.png", "benign", "1")]


@given(
    group=st.text("aAb1 .\u00e9e\u0301\u00df", min_size=1, max_size=6),
    change=st.sampled_from(
        [
            str.upper,
            str.swapcase,
            lambda text: f"{text} ",
            lambda text: f"\u2009{text}",
            lambda text: unicodedata.normalize("NFC", text),
            lambda text: unicodedata.normalize("NFD", text),
        ]
    ),
)
def test_read_manifest_refuses_two_spellings_of_a_group(
    group: str, change: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name in ("a.png", "b.png"):
        (folder / name).touch()
    rows = f"a.png,benign,{group}\nb.png,benign,{change(group)}\n"
    (folder / "groups.csv").write_text(HEADER + rows, encoding="utf-8")
    try:
        images = read_manifest(folder / "groups.csv", Folder(folder), classes=("benign", "malignant"))
    except UserError as error:
        assert "groups.csv" in str(error)
    else:
        assert len({image.patient for image, _ in images}) == 1


def test_read_manifest_counts_all_mistakes(read: Read) -> None:
    rows = "".join(f"{number}.png,odd,1\n" for number in range(12))
    with pytest.raises(UserError, match="12 mistakes in .*manifest.csv") as caught:
        read(HEADER + rows)
    assert str(caught.value).endswith("and 2 more")


def test_read_manifest_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read .*none.csv: No such file"):
        read_manifest(tmp_path / "none.csv", Folder(tmp_path), classes=("a", "b"))


@given(content=st.binary() | st.text('path,label,group\n"a.benign1/\0\r', max_size=80).map(str.encode))
def test_read_manifest_reads_or_refuses_any_content(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for begin in (b"", HEADER.encode()):
        (folder / "any.csv").write_bytes(begin + content)
        try:
            images = read_manifest(folder / "any.csv", Folder(folder), classes=("benign", "malignant"))
        except UserError as error:
            assert "any.csv" in str(error)
        else:
            assert images
