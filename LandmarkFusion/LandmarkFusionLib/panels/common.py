"""What the panels share."""

from collections.abc import Sequence
from typing import Any

import qt


def setEnabled(button: Any, missing: str, tip: str) -> None:
    """Enable a button whose ``tip`` says what it does, or disable it and say what is ``missing``."""
    button.setEnabled(not missing)
    button.setToolTip(missing or tip)


ROW_HEIGHT = 22


class Table:
    """A read-only table of texts that touches a cell only when its text changes, so that following a drag is cheap."""

    def __init__(self, widget: Any, headers: Sequence[str], stretched: int = 0):
        self._widget = widget
        self._columns = len(headers)
        self._cells: list[list[tuple[Any, list[str]]]] = []
        self._current = -1
        widget.setColumnCount(len(headers))
        widget.setHorizontalHeaderLabels(list(headers))
        widget.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        widget.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        widget.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        widget.verticalHeader().setVisible(False)
        widget.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        widget.setVerticalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        header = widget.horizontalHeader()
        header.setFixedHeight(ROW_HEIGHT)
        for column in range(len(headers)):
            stretch = column == stretched
            header.setSectionResizeMode(column, qt.QHeaderView.Stretch if stretch else qt.QHeaderView.ResizeToContents)

    def show(self, rows: Sequence[Sequence[str]], current: int = -1) -> None:
        """Show these rows and mark one as the current one; -1 marks none."""
        if len(rows) != len(self._cells):
            self._resize(len(rows))
        for cells, texts in zip(self._cells, rows, strict=True):
            for (item, shown), text in zip(cells, texts, strict=True):
                if shown[0] != text:
                    shown[0] = text
                    item.setText(text)
        if current != self._current:
            self._current = current
            self._widget.clearSelection()
            if current >= 0:
                self._widget.selectRow(current)

    def _resize(self, count: int) -> None:
        self._widget.setRowCount(0)
        self._widget.setRowCount(count)
        self._widget.setFixedHeight(ROW_HEIGHT * (count + 1) + 4)
        self._cells = []
        self._current = -1
        for row in range(count):
            cells = []
            for column in range(self._columns):
                item = qt.QTableWidgetItem("")
                self._widget.setItem(row, column, item)
                cells.append((item, [""]))
            self._cells.append(cells)
