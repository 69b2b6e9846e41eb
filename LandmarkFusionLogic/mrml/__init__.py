"""MRML nodes to plain data and back; the only maker of nodes. Needs Slicer or slicer-core, never Qt.

What LandmarkFusion remembers on a node is kept in attributes and references named ``LandmarkFusion.…``.
"""
