"""The module ``SampleData``: registering data sets and loading those that need no network."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import slicer


class SampleDataSource:
    """One data set: where its files are, or the function that makes it."""

    def __init__(
        self,
        sampleName: str | None = None,
        sampleDescription: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        checksums: Any = None,
        loadFiles: Any = None,
        customDownloader: Callable[[SampleDataSource], Any] | None = None,
        thumbnailFileName: str | None = None,
        loadFileType: Any = None,
        loadFileProperties: dict[str, Any] | None = None,
    ) -> None:
        self.sampleName = sampleName
        self.sampleDescription = sampleDescription or sampleName
        count = len(uris) if isinstance(uris, list | tuple) else 1
        self.uris, self.fileNames, self.nodeNames, self.checksums, self.loadFiles, self.loadFileType = (
            list(value) if isinstance(value, list | tuple) else [value] * count
            for value in (uris, fileNames, nodeNames, checksums, loadFiles, loadFileType)
        )
        if {len(self.uris), len(self.fileNames), len(self.nodeNames), len(self.checksums), len(self.loadFiles)} != {
            count
        }:
            raise ValueError("All fields of sample data source must have the same length")
        self.customDownloader = customDownloader
        self.thumbnailFileName = thumbnailFileName
        self.loadFileProperties = loadFileProperties or {}


class SampleDataLogic:
    """Registers and loads data sets."""

    def __init__(self, logMessage: Callable[..., None] | None = None) -> None:
        self._log = logMessage or (lambda message, level=0: None)

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Callable[[SampleDataSource], Any] | None = None,
        thumbnailFileName: str | None = None,
        loadFileType: Any = "VolumeFile",
        loadFiles: Any = None,
        loadFileProperties: dict[str, Any] | None = None,
        checksums: Any = None,
    ) -> None:
        """Add a data set to a category; one of the same name is replaced."""
        source = SampleDataSource(
            sampleName=sampleName,
            uris=uris,
            fileNames=fileNames,
            nodeNames=nodeNames,
            thumbnailFileName=thumbnailFileName,
            loadFileType=loadFileType,
            loadFiles=loadFiles,
            loadFileProperties=loadFileProperties,
            checksums=checksums,
            customDownloader=customDownloader,
        )
        sources = slicer.modules.sampleDataSources.setdefault(category, [])
        sources[:] = [other for other in sources if other.sampleName != sampleName] + [source]

    @staticmethod
    def sourceForSampleName(sampleName: str) -> SampleDataSource | None:
        """The data set of a name, or None."""
        every = (source for sources in slicer.modules.sampleDataSources.values() for source in sources)
        return next((source for source in every if source.sampleName == sampleName), None)

    def downloadFromSource(self, source: SampleDataSource, maximumAttemptsCount: int = 3) -> Any:
        """Load a data set: the nodes, or what its own function returns. Only local files: the host uses no network."""
        if source.customDownloader is not None:
            return source.customDownloader(source)
        nodes = []
        for uri, name, kind in zip(source.uris, source.nodeNames, source.loadFileType, strict=True):
            if urlparse(uri).scheme != "file":
                raise RuntimeError(f"The test host downloads nothing: {uri}")
            path = url2pathname(urlparse(uri).path)
            properties = {"name": name, **source.loadFileProperties}
            nodes.append(slicer.util.loadNodeFromFile(path, kind or "VolumeFile", properties))
        return nodes

    def downloadSamples(self, sampleName: str) -> Any:
        """Load a data set by its name."""
        source = self.sourceForSampleName(sampleName)
        if source is None:
            raise RuntimeError(f"No sample data set is named {sampleName!r}")
        return self.downloadFromSource(source)

    def downloadSample(self, sampleName: str) -> Any:
        """The first node of `downloadSamples`."""
        nodes = self.downloadSamples(sampleName)
        return nodes[0] if isinstance(nodes, list) and nodes else nodes


def sample_data_module() -> types.ModuleType:
    """The module ``SampleData``."""
    module = types.ModuleType("SampleData")
    vars(module).update(SampleDataSource=SampleDataSource, SampleDataLogic=SampleDataLogic)
    module.downloadSample = lambda sampleName: SampleDataLogic().downloadSample(sampleName)
    module.downloadSamples = lambda sampleName: SampleDataLogic().downloadSamples(sampleName)
    return module
