"""Message boxes and file dialogs: nobody is there to close them, so tests answer them in advance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PySide6 import QtWidgets

_KINDS = {
    "NoIcon": "plain",
    "Information": "information",
    "Warning": "warning",
    "Critical": "error",
    "Question": "question",
}


@dataclass(frozen=True)
class Message:
    """A message box that was shown: kind is plain, information, warning, error or question."""

    kind: str
    text: str
    detail: str
    answer: str


class Dialogs:
    """Keeps the text of each dialog and gives the answers that a test has prepared.

    A question without a prepared answer gets its default button, or else the first button that accepts (OK, Yes,
    Retry).
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._answers: list[tuple[str, str]] = []
        self._paths: list[str] = []

    def clear(self) -> None:
        """Forget messages and prepared answers."""
        self.messages.clear()
        self._answers.clear()
        self._paths.clear()

    def answer(self, button: str, containing: str = "") -> None:
        """Press ``button`` ("Yes", "No", "Ok", …) in the next message box whose text contains ``containing``."""
        self._answers.append((containing, button))

    def choose(self, path: str) -> None:
        """Give ``path`` to the next file or folder dialog; without one it is cancelled."""
        self._paths.append(path)

    def texts(self, kind: str = "") -> list[str]:
        """Texts of the message boxes so far, of one kind or of all."""
        return [message.text for message in self.messages if kind in ("", message.kind)]

    def ask_path(self, caption: str) -> str:
        """The path prepared for a file dialog, or "" (cancelled)."""
        path = self._paths.pop(0) if self._paths else ""
        self.messages.append(Message("file", caption, "", path))
        return path

    def show(self, box: QtWidgets.QMessageBox) -> int:
        """Stand in for ``QMessageBox.exec``: record, choose a button, return its code."""
        button = self._button(box)
        answer = QtWidgets.QMessageBox.StandardButton(button)
        kind = _KINDS.get(QtWidgets.QMessageBox.icon(box).name, "plain")
        self.messages.append(Message(kind, box.text, box.detailedText, answer.name))
        return int(button)

    def _button(self, box: QtWidgets.QMessageBox) -> int:
        codes = QtWidgets.QMessageBox.StandardButton
        offered = QtWidgets.QMessageBox.standardButtons(box)
        for index, (containing, name) in enumerate(self._answers):
            if containing in box.text:
                if not offered & codes[name]:
                    raise ValueError(f"The message box {box.text!r} has no button {name!r}")
                del self._answers[index]
                return codes[name].value
        default = box.defaultButton()
        if default is not None:
            return box.standardButton(default).value
        accepting = (codes.Ok, codes.Yes, codes.Retry, codes.Close)
        return next((code.value for code in accepting if offered & code), codes.Ok.value)


dialogs = Dialogs()


def install() -> None:
    """Answer every modal dialog of the process instead of showing it."""

    def show(box: QtWidgets.QMessageBox) -> int:
        return dialogs.show(box)

    def refuse(dialog: QtWidgets.QDialog) -> int:
        raise RuntimeError(f"{type(dialog).__name__} waits for a person; the test host cannot answer it")

    for cls, method in ((QtWidgets.QDialog, refuse), (QtWidgets.QMessageBox, show)):
        patched: Any = cls
        patched.exec = method
        patched.exec_ = method
    for name in ("getOpenFileName", "getSaveFileName", "getExistingDirectory"):
        setattr(QtWidgets.QFileDialog, name, staticmethod(_file_dialog))


def _file_dialog(parent: Any = None, caption: str = "", *_: Any, **__: Any) -> str:
    """PythonQt's file dialogs return the path alone."""
    return dialogs.ask_path(caption)
