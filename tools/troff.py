# SPDX-License-Identifier: GPL-2.0-or-later
"""Text as source of man(7): escaped, in paragraphs, lists and examples. Pure."""

from __future__ import annotations

import datetime
import re


def escape(text: str) -> str:
    r"""TEXT for the body of a page: nothing in it is a request or an escape.

    A hyphen would be a typographic one, which cannot be searched for or pasted: all become minus
    signs, \-. A line that begins with a dot or a quote would be a request.
    """
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    text = text.replace("^", "\\(ha").replace("~", "\\(ti")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def quote(text: str) -> str:
    """TEXT as one argument of a request, in quotes."""
    return '"' + escape(text).replace('"', "\\(dq") + '"'


def head(name: str, section: int, epoch: int, version: str, summary: str) -> str:
    """The page's head: .TH and NAME. EPOCH: seconds since 1970, UTC."""
    date = datetime.datetime.fromtimestamp(epoch, tz=datetime.UTC).date().isoformat()
    title = f".TH {quote(name.upper())} {section} {quote(date)} {quote(version)}"
    return f"{title}\n.SH NAME\n{escape(name)} \\- {escape(summary)}\n"


def section(title: str) -> str:
    """A heading."""
    return f".SH {quote(title.upper())}\n"


def paragraph(text: str) -> str:
    """A paragraph, filled."""
    return f".PP\n{escape(' '.join(text.split()))}\n"


def entry(term: str, text: str) -> str:
    """An entry of a list: TERM in bold, TEXT indented."""
    return f".TP\n.B {quote(term)}\n{escape(' '.join(text.split()))}\n"


def example(does: str, line: str) -> str:
    """What a command line does, and that LINE, not filled."""
    return f"{paragraph(f'{does}:')}.PP\n.RS 4\n.EX\n{escape(line)}\n.EE\n.RE\n"
