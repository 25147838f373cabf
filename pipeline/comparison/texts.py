"""Tables as Markdown and as LaTeX."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from pipeline.comparison.sheets import Sheet

_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>#|~"})
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "'": "'", "±": r"$\pm$", "−": "$-$",
    "∓": r"$\mp$", "×": r"$\times$", "÷": r"$\div$", "·": r"$\cdot$", "–": "--", "—": "---", "…": r"\ldots{}",
    "∞": r"$\infty$", "′": "$'$", "’": "'", "‘": "`", "“": "``", "”": "''", "²": r"\textsuperscript{2}",
    "√": r"$\surd$", "≤": r"$\leq$", "≥": r"$\geq$", "\u00a0": "~",
}  # fmt: skip
_LATEX['"'] = "''"  # \textquotedbl needs another font encoding


_MINUS = re.compile(r"(?<![\w.-])-(?=\d)")  # of a number, not of 'ViT-B' or a date


def markdown(sheets: Sequence[Sheet], heading: str) -> str:
    """All tables as GitHub's Markdown, each with its caption below."""
    parts = [f"# {_plain(heading)}"]
    for sheet in sheets:
        rows = [
            [f"**{cell}**" if (i, j) in sheet.best else cell for j, cell in enumerate(map(_plain, row))]
            for i, row in enumerate(sheet.rows)
        ]
        lines = [_line([_plain(name) for name, _ in sheet.heads]),
                 _line(["---:" if numeric else "---" for _, numeric in sheet.heads]), *map(_line, rows)]  # fmt: skip
        parts += [f"## {_plain(sheet.title)}", "\n".join(lines), _plain(sheet.caption)]
    return "\n\n".join(parts) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    return " ".join(text.split()).translate(_MARKDOWN)


def latex(sheets: Sequence[Sheet], note: str) -> str:
    r"""All tables for `\input` into a document with booktabs and graphicx, captions with the protocol; a table that is
    wider than the text is made smaller. note: a comment above."""
    said = " ".join(escaped(note).split())
    lines = ["% needs \\usepackage{booktabs,graphicx}; then \\input{comparison.tex}", f"% {said}"]
    for number, sheet in enumerate(sheets, 1):
        lines += [
            "",
            r"\begin{table}[htbp]",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            f"\\caption{{\\textbf{{{escaped(sheet.title)}.}} {escaped(sheet.caption)}}}",
            f"\\label{{tab:comparison-{number}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            f"\\begin{{tabular}}{{@{{}}{''.join('r' if numeric else 'l' for _, numeric in sheet.heads)}@{{}}}}",
            r"\toprule",
            _row([_head(name, numeric) for name, numeric in sheet.heads]),
            r"\midrule",
            *(
                _row([f"\\textbf{{{escaped(cell)}}}" if (i, j) in sheet.best else escaped(cell)
                      for j, cell in enumerate(row)])
                for i, row in enumerate(sheet.rows)
            ),
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _head(name: str, numeric: bool) -> str:
    """A long one in several lines."""
    parts = re.split(r"(?<=,) | (?=\()", name)
    if len(parts) == 1:
        return escaped(name)
    lines = r"\\".join(map(escaped, parts))
    return f"\\shortstack[{'r' if numeric else 'l'}]{{{lines}}}"


def _row(cells: Sequence[str]) -> str:
    """A cell that opens with a bracket would be taken for an argument of the line break before it."""
    first = "{}" + cells[0] if cells[0].startswith(("[", "*")) else cells[0]
    return " & ".join([first, *cells[1:]]) + r" \\"


def escaped(text: str) -> str:
    r"""As LaTeX sets it: special characters escaped; what no standard font has becomes a question mark.

    >>> escaped("50 % of a_b & {c} ± 0.1"), escaped("Bäume"), escaped("日本"), escaped("ViT-B, -0.1")
    ('50 \\% of a\\_b \\& \\{c\\} $\\pm$ 0.1', 'Bäume', '??', 'ViT-B, $-$0.1')
    """
    return "".join(map(_character, _MINUS.sub("−", " ".join(text.split()))))


def _character(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    if " " <= character < "\x7f":
        return character
    parts = unicodedata.normalize("NFKD", character)
    accented = len(parts) > 1 and parts[0].isascii() and character.isalpha() and 0xC0 <= ord(character) <= 0x17F
    return character if accented or character in "ßæøåÆØÅœŒ" else "?"
