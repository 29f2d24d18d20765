"""What stands in the lake, by a reader that is not Lakegate: the files of metadata as they are, the rows by PyIceberg."""

import json
import re

from pyiceberg.table import StaticTable


class LakeTable:
    """One table, by its directory below the bucket."""

    def __init__(self, s3, path):
        self._s3, self._path = s3, path

    @property
    def directory(self):
        return self._s3.lake / self._path

    def versions(self):
        """Numbers of the versions that were committed, oldest first."""
        found = (re.fullmatch(r"v(\d+)\.metadata\.json", path.name)
                 for path in (self.directory / "metadata").glob("v*.metadata.json"))
        return sorted(int(version[1]) for version in found if version)

    def metadata(self):
        return json.loads((self.directory / f"metadata/v{self.versions()[-1]}.metadata.json").read_text())

    def commits(self):
        """The run of each commit, oldest first: that of every version that added a snapshot."""
        runs, known = [], set()
        for version in self.versions():
            metadata = json.loads((self.directory / f"metadata/v{version}.metadata.json").read_text())
            for snapshot in metadata.get("snapshots", []):
                if snapshot["snapshot-id"] not in known:
                    known.add(snapshot["snapshot-id"])
                    runs.append(snapshot["summary"]["lakegate.run-id"])
        return runs

    def rows(self):
        """All rows of the newest snapshot, sorted."""
        location = f"s3://lake/{self._path}/metadata/v{self.versions()[-1]}.metadata.json"
        table = StaticTable.from_metadata(location, {
            "s3.endpoint": self._s3.endpoint, "s3.region": "us-east-1", "s3.access-key-id": self._s3.KEY,
            "s3.secret-access-key": self._s3.secret, "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
        })
        found = table.scan().to_arrow().to_pylist()
        return sorted(tuple(row.values()) for row in found)

    def data_files(self):
        """Data files that lie there, referred to or not."""
        return list((self.directory / "data").rglob("*.parquet"))
