"""Stand-ins of the widgets of CTK that a module's ``.ui`` files and Slicer's ``slicer/util.py`` use."""

from __future__ import annotations

import types
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

from host.messageboxes import dialogs
from host.standin import StandIn, delegate, option

Qt = QtCore.Qt


class ctkCollapsibleButton(StandIn, QtWidgets.QAbstractButton):
    """A header that shows or hides the widgets below it; checked means open."""

    cxx_signals = ("contentsCollapsed(bool)",)
    contentsCollapsed = QtCore.Signal(bool)
    _HEADER = 24

    def __init__(self, *arguments: Any) -> None:
        text, parent = _text_and_parent(arguments)
        super().__init__(parent)
        self.setText(text)
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, self._HEADER, 0, 0)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Preferred)
        self._wanted: dict[int, bool] = {}
        self._forcing = False
        self.toggled.connect(self._toggle)

    def _toggle(self, opened: bool) -> None:
        self._apply()
        self.updateGeometry()
        self.contentsCollapsed.emit(not opened)

    def _apply(self) -> None:
        """Show or hide what is below the header; what the module itself has hidden stays so."""
        self._forcing = True
        for child in self.findChildren(QtWidgets.QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly):
            child.setVisible(self.checked and self._wanted.get(shiboken6.getCppPointer(child)[0], True))
        self._forcing = False

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        """Hear of it when a child is shown or hidden."""
        if event.added() and event.child().isWidgetType():
            event.child().installEventFilter(self)

    def eventFilter(self, child: QtCore.QObject, event: QtCore.QEvent) -> bool:
        """Remember what the module wants of a child; while collapsed none is shown."""
        kind = event.type()
        if not self._forcing and kind in (QtCore.QEvent.Type.ShowToParent, QtCore.QEvent.Type.HideToParent):
            self._wanted[shiboken6.getCppPointer(child)[0]] = kind == QtCore.QEvent.Type.ShowToParent
            if not self.checked:
                self._apply()
        return False

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        """Children may have come after the button was collapsed."""
        self._apply()

    collapsed = QtCore.Property(bool, lambda self: not self.checked, lambda self, value: self.setChecked(not value))
    collapsedHeight = option(int, 0)
    flat = option(bool, False)
    contentsLineWidth = option(int, 1)

    def sizeHint(self) -> QtCore.QSize:
        """Size of the header and, when open, of what is below it."""
        header = QtCore.QSize(self.fontMetrics().horizontalAdvance(self.text) + 40, self._HEADER)
        layout = self.layout()
        return header.expandedTo(layout.totalSizeHint()) if layout is not None and self.checked else header

    def minimumSizeHint(self) -> QtCore.QSize:
        """The least size at which the contents fit."""
        layout = self.layout()
        if layout is None or not self.checked:
            return QtCore.QSize(0, self._HEADER)
        return QtCore.QSize(0, self._HEADER).expandedTo(layout.totalMinimumSize())

    def hitButton(self, position: QtCore.QPoint) -> bool:
        """Only the header takes clicks."""
        return position.y() < self._HEADER

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the header."""
        painter = QtWidgets.QStylePainter(self)
        header = QtCore.QRect(0, 0, self.width, self._HEADER - 2)
        painter.fillRect(header, self.palette.color(QtGui.QPalette.ColorRole.Button))
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(4, 5, 12, 12)
        elements = QtWidgets.QStyle.PrimitiveElement
        painter.drawPrimitive(
            elements.PE_IndicatorArrowDown if self.checked else elements.PE_IndicatorArrowRight, arrow
        )
        painter.drawText(header.adjusted(22, 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, self.text.replace("&&", "&"))


class ctkCollapsibleGroupBox(StandIn, QtWidgets.QGroupBox):
    """A group box whose check mark shows or hides its contents."""

    def __init__(self, *arguments: Any) -> None:
        title, parent = _text_and_parent(arguments)
        super().__init__(title, parent)
        self.setCheckable(True)
        self.toggled.connect(self._toggle)

    def _toggle(self, opened: bool) -> None:
        for child in self.findChildren(QtWidgets.QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly):
            child.setVisible(opened)

    collapsed = QtCore.Property(bool, lambda self: not self.checked, lambda self, value: self.setChecked(not value))
    collapsedHeight = option(int, 14)


class ctkSliderWidget(StandIn, QtWidgets.QWidget):
    """A slider and a spin box for one number."""

    cxx_signals = (
        "valueChanged(double)",
        "valueIsChanging(double)",
        "decimalsChanged(int)",
    )
    valueChanged = QtCore.Signal(float)
    valueIsChanging = QtCore.Signal(float)
    decimalsChanged = QtCore.Signal(int)
    _STEPS = 10000

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(Qt.Orientation.Horizontal)
        self._slider.setRange(0, self._STEPS)
        self._spin = QtWidgets.QDoubleSpinBox()
        self._spin.setKeyboardTracking(False)
        self._spin.setRange(0, 99)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider, 1)
        row.addWidget(self._spin)
        self._slider.sliderMoved.connect(self._moved)
        self._slider.sliderReleased.connect(self._released)
        self._slider.actionTriggered.connect(self._stepped)
        self._spin.valueChanged.connect(self._spun)

    def setValue(self, value: float) -> None:
        """Set the number; it is kept within minimum and maximum."""
        self._spin.setValue(value)

    def reset(self) -> None:
        """Back to the number nearest to zero."""
        self._spin.setValue(0.0)

    def setSpinBoxVisible(self, visible: bool) -> None:
        """Show or hide the spin box."""
        self._spin.setVisible(visible)

    def setDecimals(self, decimals: int) -> None:
        """Number of digits shown and kept after the point."""
        self._spin.setDecimals(decimals)
        self.decimalsChanged.emit(decimals)

    def _at_slider(self, position: int) -> float:
        low, high = self._spin.minimum, self._spin.maximum
        return low + (high - low) * position / self._STEPS

    def _moved(self, position: int) -> None:
        value = self._at_slider(position)
        self.valueIsChanging.emit(value)
        if self.tracking:
            self._spin.setValue(value)

    def _released(self) -> None:
        self._spin.setValue(self._at_slider(self._slider.value))

    def _stepped(self, _action: int) -> None:
        if not self._slider.sliderDown:
            self._spin.setValue(self._at_slider(self._slider.sliderPosition))

    def _spun(self, value: float) -> None:
        self._place_slider()
        self.valueChanged.emit(value)

    def _place_slider(self) -> None:
        low, high = self._spin.minimum, self._spin.maximum
        self._slider.setValue(round(self._STEPS * (self._spin.value - low) / (high - low)) if high > low else 0)

    def _set_minimum(self, value: float) -> None:
        self._spin.setMinimum(value)
        self._place_slider()

    def _set_maximum(self, value: float) -> None:
        self._spin.setMaximum(value)
        self._place_slider()

    value = QtCore.Property(float, lambda self: self._spin.value, setValue)
    minimum = QtCore.Property(float, lambda self: self._spin.minimum, _set_minimum)
    maximum = QtCore.Property(float, lambda self: self._spin.maximum, _set_maximum)
    decimals = QtCore.Property(int, lambda self: self._spin.decimals, setDecimals)
    singleStep = delegate(float, "_spin", lambda spin: spin.singleStep, lambda spin, value: spin.setSingleStep(value))
    prefix = delegate(str, "_spin", lambda spin: spin.prefix, lambda spin, value: spin.setPrefix(value))
    suffix = delegate(str, "_spin", lambda spin: spin.suffix, lambda spin, value: spin.setSuffix(value))
    spinBoxVisible = QtCore.Property(bool, lambda self: not self._spin.isHidden(), setSpinBoxVisible)
    pageStep = option(float, 10.0)
    tickInterval = option(float, 0.0)
    tracking = option(bool, True)
    popupSlider = option(bool, False)
    invertedAppearance = option(bool, False)
    invertedControls = option(bool, False)


class ctkDoubleSpinBox(StandIn, QtWidgets.QWidget):
    """A spin box for a number."""

    cxx_signals = (
        "valueChanged(double)",
        "editingFinished()",
        "decimalsChanged(int)",
    )
    valueChanged = QtCore.Signal(float)
    editingFinished = QtCore.Signal()
    decimalsChanged = QtCore.Signal(int)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._spin = QtWidgets.QDoubleSpinBox()
        self._spin.setKeyboardTracking(False)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._spin)
        self._spin.valueChanged.connect(lambda value: self.valueChanged.emit(value))
        self._spin.editingFinished.connect(lambda: self.editingFinished.emit())

    def setValue(self, value: float) -> None:
        """Set the number; it is kept within minimum and maximum."""
        self._spin.setValue(value)

    def setDecimals(self, decimal: int) -> None:
        """Number of digits shown and kept after the point."""
        self._spin.setDecimals(decimal)
        self.decimalsChanged.emit(decimal)

    def setReadOnly(self, readOnly: bool) -> None:
        """Refuse or take the user's input."""
        self._spin.setReadOnly(readOnly)

    def stepUp(self) -> None:
        """One step more."""
        self._spin.stepUp()

    def stepDown(self) -> None:
        """One step less."""
        self._spin.stepDown()

    value = QtCore.Property(float, lambda self: self._spin.value, setValue)
    decimals = QtCore.Property(int, lambda self: self._spin.decimals, setDecimals)
    readOnly = QtCore.Property(bool, lambda self: self._spin.readOnly, setReadOnly)
    minimum = delegate(float, "_spin", lambda spin: spin.minimum, lambda spin, value: spin.setMinimum(value))
    maximum = delegate(float, "_spin", lambda spin: spin.maximum, lambda spin, value: spin.setMaximum(value))
    singleStep = delegate(float, "_spin", lambda spin: spin.singleStep, lambda spin, value: spin.setSingleStep(value))
    prefix = delegate(str, "_spin", lambda spin: spin.prefix, lambda spin, value: spin.setPrefix(value))
    suffix = delegate(str, "_spin", lambda spin: spin.suffix, lambda spin, value: spin.setSuffix(value))


class ctkComboBox(StandIn, QtWidgets.QComboBox):
    """A combo box with a text for "nothing chosen"."""

    def setCurrentUserDataAsString(self, userData: str) -> None:
        """Choose the item whose user data reads so."""
        self.setCurrentIndex(self.findData(userData))

    defaultText = option(str, "")
    forceDefault = option(bool, False)
    currentUserDataAsString = QtCore.Property(
        str, lambda self: str(self.currentData or ""), setCurrentUserDataAsString
    )


class ctkPathLineEdit(StandIn, QtWidgets.QWidget):
    """A path with its history; "browse" asks for one."""

    cxx_signals = (
        "currentPathChanged(QString)",
        "validInputChanged(bool)",
    )
    currentPathChanged = QtCore.Signal(str)
    validInputChanged = QtCore.Signal(bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._box = QtWidgets.QComboBox()
        self._box.setEditable(True)
        self._button = QtWidgets.QToolButton()
        self._button.setText("…")
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box, 1)
        row.addWidget(self._button)
        self._box.editTextChanged.connect(lambda path: self.currentPathChanged.emit(path))
        self._button.clicked.connect(lambda: self.browse())

    def setCurrentPath(self, path: str) -> None:
        """Set the path."""
        self._box.setEditText(path)

    def browse(self) -> None:
        """Take the path that the test gave to ``host.dialogs``."""
        path = dialogs.ask_path(self.label or "Select a file")
        if path:
            self.setCurrentPath(path)

    def addCurrentPathToHistory(self) -> None:
        """Keep the path among those offered."""
        path = self._box.currentText
        if path and self._box.findText(path) < 0:
            self._box.addItem(path)

    def retrieveHistory(self) -> None:
        """Nothing to retrieve: the host starts with fresh settings."""

    def comboBox(self) -> QtWidgets.QComboBox:
        """The combo box inside."""
        return self._box

    currentPath = QtCore.Property(str, lambda self: self._box.currentText, setCurrentPath)
    label = option(str, "")
    nameFilters = option("QStringList", [])
    filters = option(int, 0)
    options = option(int, 0)
    settingKey = option(str, "")
    showBrowseButton = QtCore.Property(
        bool, lambda self: not self._button.isHidden(), lambda self, shown: self._button.setVisible(shown)
    )
    showHistoryButton = option(bool, True)
    minimumContentsLength = option(int, 0)


class ctkDirectoryButton(StandIn, QtWidgets.QWidget):
    """A button that shows a folder and asks for another."""

    cxx_signals = (
        "directoryChanged(QString)",
        "directorySelected(QString)",
    )
    directoryChanged = QtCore.Signal(str)
    directorySelected = QtCore.Signal(str)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._button = QtWidgets.QPushButton()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._button)
        self._path = ""
        self._button.clicked.connect(lambda: self.browse())

    def browse(self) -> str:
        """Take the folder that the test gave to ``host.dialogs``."""
        path = dialogs.ask_path(self.caption or "Select a folder")
        if path:
            self._set_directory(path)
            self.directorySelected.emit(path)
        return path

    def _set_directory(self, path: str) -> None:
        if path != self._path:
            self._path = path
            self._button.setText(path)
            self.directoryChanged.emit(path)

    directory = QtCore.Property(str, lambda self: self._path, _set_directory)
    caption = option(str, "")


class ctkPushButton(StandIn, QtWidgets.QPushButton):
    """A push button that can elide its text."""


class ctkCheckablePushButton(ctkPushButton):
    """A push button with a check box on it."""

    cxx_signals = ("checkBoxToggled(bool)",)
    checkBoxToggled = QtCore.Signal(bool)
    checkBoxControlsButton = option(bool, True)
    checkBoxUserCheckable = option(bool, True)


class ctkMenuButton(StandIn, QtWidgets.QPushButton):
    """A push button with a menu."""


class ctkMessageBox(StandIn, QtWidgets.QMessageBox):
    """A message box; `host.dialogs` answers it."""

    def setDontShowAgain(self, dontShow: bool) -> None:
        """Tick "do not show again"."""
        self.dontShowAgain = dontShow

    dontShowAgain = option(bool, False)
    dontShowAgainSettingsKey = option(str, "")
    dontShowAgainVisible = option(bool, False)


def _text_and_parent(arguments: tuple[Any, ...]) -> tuple[str, QtWidgets.QWidget | None]:
    """The two C++ constructors: (parent) and (text, parent)."""
    text = next((a for a in arguments if isinstance(a, str)), "")
    return text, next((a for a in arguments if isinstance(a, QtWidgets.QWidget)), None)


def classes() -> dict[str, type]:
    """Every stand-in of this file by name."""
    return {name: value for name, value in globals().items() if name.startswith("ctk") and isinstance(value, type)}


def ctk_module() -> types.ModuleType:
    """The module ``ctk``."""
    module = types.ModuleType("ctk")
    vars(module).update(classes())
    return module
