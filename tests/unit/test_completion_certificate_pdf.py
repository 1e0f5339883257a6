"""The PDF of a certificate of completion: names of every script, what is in the file, its size."""

import io
import unicodedata
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from pypdf import PdfReader
from pypdf.generic import DictionaryObject, IndirectObject
from pypdfium2 import PdfDocument

from ledger.completion_certificates import CompletionCertificate
from schemas.errors import DeliveryRefused
from schemas.reasons import Reason
from tests.builders.records import COURSE_ID, COWORKER_ID
from workers.completion_certificate.code import CertificateLook, completion_code
from workers.completion_certificate.pdf import make_pdf
from workers.completion_certificate.wording import printed_name, printed_title
from workers.languages import Language, language_codes, language_for

ENGLISH = language_for("en")
PUBLIC_URL = "https://courses.example.org"
CODE = completion_code("a-secret-key", COURSE_ID, COWORKER_ID)
LOOK = CertificateLook(PUBLIC_URL, "#0E6655")
MOST_BYTES = 200 * 1024
MILLIMETRE = 72 / 25.4  # points
ANA = CompletionCertificate(
    course_id=COURSE_ID,
    coworker_id=COWORKER_ID,
    name="Ana López",
    course="Freelance Finance",
    space="Harbour Works",
    finished_on=date(2026, 11, 24),
    language="en",
)
NAMES = {
    "en": "Siobhán O’Connor",
    "es": "Íñigo Muñoz Peña",
    "pt": "João Conceição",
    "fr": "Zoë Lefèvre-Œuvrard",
    "de": "Jörg Großmüller",
    "it": "Niccolò D’Alò",
    "he": "נועה בן־דוד",
    "ar": "محمد عبد الرحمن",
    "ja": "髙橋 さくら",
    "ja kana": "サトウ・ﾀﾛｳ",
    "nl": "IJsbrand ’t Hooft",
    "no": "Øystein Ångård",
    "pl": "Łukasz Żółć-Święćicki",
    "sv": "Åsa Öström",
    "tr": "İbrahim Yağız Ilıcalı",
    "cs": "Jiří Dvořák Šťastný",
    "ro": "Ștefan Țîrlea",
    "vi": "Nguyễn Thị Hường",
    "el": "Γιώργος Παπαδόπουλος",
    "uk": "Оксана Ґалаґан-Їжакевич",
    "fa": "نگار پورمحمدی",
}
LONGEST_TITLE = (
    "Everything a freelancer should know about invoices, taxes, pensions, insurance, contracts and "
    "getting paid in time (second edition)."
)


def made(certificate: CompletionCertificate = ANA, language: Language = ENGLISH) -> bytes:
    return make_pdf(certificate, CODE, LOOK, language)


def read(content: bytes) -> PdfReader:
    return PdfReader(io.BytesIO(content), strict=True)


def catalogue(reader: PdfReader) -> Any:  # noqa: ANN401 - nested objects of the file
    return reader.trailer["/Root"]


def text_of(content: bytes) -> str:
    """Return the text in the order of reading, as a browser copies it."""
    document = PdfDocument(content)
    [page] = document
    text: str = page.get_textpage().get_text_bounded()
    return text.replace("\r\n", "\n")


def test_it_says_name_course_day_space_code_and_address_and_nothing_else() -> None:
    assert text_of(made()).split("\n") == [
        "Certificate of completion",
        "Awarded to",
        "Ana López",
        "For completing the course",
        "Freelance Finance",
        "Completed on",
        "24 November 2026",
        "Issued by",
        "Harbour Works",
        "Code",
        CODE,
        f"Anyone can check this certificate at this address: {PUBLIC_URL}/c/{CODE}",
    ]


@pytest.mark.parametrize("language", NAMES)
def test_a_name_in_any_of_these_scripts_can_be_read_from_the_file(language: str) -> None:
    name = NAMES[language]
    content = made(replace(ANA, name=printed_name(name)))
    text = unicodedata.normalize("NFC", text_of(content))
    assert unicodedata.normalize("NFC", name) in text
    assert len(content) < MOST_BYTES


@pytest.mark.parametrize("code", language_codes())
def test_it_is_in_the_language_of_the_member(code: str) -> None:
    language = language_for(code)
    reader = read(made(replace(ANA, language=code), language))
    assert len(reader.pages) == 1
    assert catalogue(reader)["/Lang"] == code
    text = text_of(made(replace(ANA, language=code), language))
    labels = [language.gettext(one) for one in ("Certificate of completion", "Awarded to", "Code")]
    assert [one for one in labels if one not in text] == []
    assert str(ANA.finished_on.day) in text


def test_emoji_are_left_out_and_the_name_around_them_stays() -> None:
    content = made(
        replace(
            ANA, name=printed_name("Zoë 🎓👩🏽‍💻 Kõiv 🇪🇪"), course=printed_title("Ceramics 🏺 1️⃣")
        )
    )
    assert "Zoë Kõiv" in text_of(content)
    assert "Ceramics 1" in text_of(content)


def test_a_long_title_and_a_long_name_fit_on_the_page() -> None:
    assert len(LONGEST_TITLE) == 132
    name = "Maximiliane Alexandrina von und zu Hohenlohe-Waldenburg-Schillingsfürst-Oehringen" * 2
    content = made(replace(ANA, name=printed_name(name), course=LONGEST_TITLE))
    assert len(read(content).pages) == 1
    assert " ".join(text_of(content).split()).count("second edition") == 1
    assert len(content) < MOST_BYTES


def test_the_longest_words_stay_inside_the_frame_and_their_columns() -> None:
    name, title, space = "W" * 120, "M" * 240, "\u0416" * 240
    content = made(replace(ANA, name=name, course=title, space=space))
    [page] = PdfDocument(content)
    width, height = page.get_size()
    shown = page.get_textpage()
    text = shown.get_text_range()
    boxes = [(one, shown.get_charbox(place)) for place, one in enumerate(text) if one.isalpha()]
    frame = 13 * MILLIMETRE
    assert len(boxes) > len(name + title + space)
    assert all(left > frame and right < width - frame for _, (left, _, right, _) in boxes)
    assert all(low > frame and high < height - frame for _, (_, low, _, high) in boxes)
    column = [(left, right) for one, (left, _, right, _) in boxes if one == space[0]]
    assert min(left for left, _ in column) > width / 3
    assert max(right for _, right in column) < width * 2 / 3


def test_a_long_japanese_title_is_not_made_small_to_fit_on_one_line() -> None:
    title = "費用と税金の基礎" * 6
    content = made(replace(ANA, course=title))
    [page] = PdfDocument(content)
    shown = page.get_textpage()
    place = shown.get_text_range().index("費")
    _, low, _, high = shown.get_charbox(place)
    assert high - low > 15  # points


def test_without_a_space_it_names_none() -> None:
    text = text_of(made(replace(ANA, space=None)))
    assert "Issued by" not in text
    assert "None" not in text


def test_the_same_certificate_gives_the_same_bytes() -> None:
    assert made() == made(replace(ANA))
    assert made() != made(replace(ANA, name="Ana Lopez"))


def test_it_declares_the_standards_it_keeps_its_title_language_and_author() -> None:
    reader = read(made())
    root = catalogue(reader)
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en"
    assert root["/ViewerPreferences"]["/DisplayDocTitle"]
    metadata = root["/Metadata"].get_object().get_data().decode()
    for statement in ("pdfuaid:part>1<", "pdfaid:part>2<", "pdfaid:conformance>A<"):
        assert statement in metadata
    found = reader.metadata
    assert found is not None
    assert found.title == "Certificate of completion: Freelance Finance"
    assert found.author == "Harbour Works"
    assert {found.creation_date, found.modification_date} == {datetime(2026, 11, 24, tzinfo=UTC)}
    assert "Ana" not in str(dict(found))


def test_a_screen_reader_finds_a_heading_then_paragraphs_and_a_link() -> None:
    kinds = structure(catalogue(read(made()))["/StructTreeRoot"])
    assert kinds[:2] == ["/Document", "/H1"]
    assert "/Link" in kinds
    assert kinds.count("/P") >= 6


def structure(node: object) -> list[str]:
    """Return the kinds of a tree's elements in reading order."""
    if isinstance(node, IndirectObject):
        return structure(node.get_object())
    if isinstance(node, list):
        return [kind for one in node for kind in structure(one)]
    if not isinstance(node, DictionaryObject):
        return []
    own = [str(node["/S"])] if "/S" in node else []
    return own + (structure(node["/K"]) if "/K" in node else [])


def test_every_font_is_embedded_and_every_letter_has_its_unicode() -> None:
    reader = read(made(replace(ANA, name=f"{NAMES['ar']} {NAMES['ja']} {NAMES['he']}")))
    [page] = reader.pages
    resources: Any = page["/Resources"]
    fonts = [one.get_object() for one in resources["/Font"].values()]
    assert len(fonts) >= 3
    for font in fonts:
        assert "/ToUnicode" in font
        descendant = font["/DescendantFonts"][0].get_object()
        assert {"/FontFile2", "/FontFile3"} & descendant["/FontDescriptor"].keys()


@pytest.mark.parametrize("script", ["𐎀𐎁𐎂", "𒀀𒀁"])
def test_a_name_that_no_font_has_is_never_printed_as_boxes(script: str) -> None:
    with pytest.raises(DeliveryRefused, match="no font on this machine") as refused:
        made(replace(ANA, name=script))
    assert refused.value.reason is Reason.TEMPLATE_ERROR
    assert script not in str(refused.value)


def test_a_sign_that_no_font_has_is_left_out() -> None:
    text = text_of(made(replace(ANA, course="Ceramics \U0001104d glazing")))
    assert "Ceramics glazing" in text


def test_it_contains_no_markup_of_what_people_typed() -> None:
    typed = '#pagebreak() *bold* $x$ \\ #read("/etc/passwd") [a] // b'
    content = made(replace(ANA, name=typed, course=typed))
    assert len(read(content).pages) == 1
    assert "".join(text_of(content).split()).count("".join(typed.split())) == 2
