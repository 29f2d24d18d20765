"""Checks of the image that image/archive.sh makes, and that Containerfile makes the same.

Run by `cargo test --test it charts`, or by itself: python tests/charts/image.py
"""

import io
import json
import pathlib
import re
import shlex
import shutil
import subprocess
import tarfile
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
# Any dynamic program will do: what is checked is what comes with it.
PROGRAM = shutil.which("openssl")


def archive(*more):
    return subprocess.run([REPOSITORY / "image/archive.sh", "lakegate:test", *more], capture_output=True, check=False)


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        done = archive(PROGRAM)
        assert done.returncode == 0, done.stderr.decode()
        cls.bytes = done.stdout
        with tarfile.open(fileobj=io.BytesIO(cls.bytes)) as outer:
            cls.manifest = json.load(outer.extractfile("manifest.json"))
            cls.config = json.load(outer.extractfile("config.json"))
            cls.layer = outer.extractfile("layer.tar").read()
        cls.layers = tarfile.open(fileobj=io.BytesIO(cls.layer))
        cls.files = {it.name.removeprefix("./"): it for it in cls.layers.getmembers()}

    @classmethod
    def tearDownClass(cls):
        cls.layers.close()

    def test_it_is_one_layer_with_its_digest(self):
        self.assertEqual(self.manifest, [{"Config": "config.json", "RepoTags": ["lakegate:test"],
                                          "Layers": ["layer.tar"]}])
        digest = subprocess.run(["sha256sum"], input=self.layer, capture_output=True, check=True).stdout.split()[0]
        self.assertEqual(self.config["rootfs"]["diff_ids"], [f"sha256:{digest.decode()}"])

    def test_it_holds_what_the_binary_needs_and_nothing_else(self):
        libraries = re.findall(r"(/[^ ]+) \(0x", subprocess.run(["ldd", PROGRAM], capture_output=True, text=True,
                                                              check=True).stdout)
        wanted = {"lakegate", "LICENSE", "etc/passwd", "etc/group", "etc/nsswitch.conf",
                  "etc/ssl/certs/ca-certificates.crt"} | {it.lstrip("/") for it in libraries}
        self.assertEqual({name for name, it in self.files.items() if not it.isdir()}, wanted)
        self.assertTrue(libraries)

    def test_nobody_may_change_it_but_its_own_folders(self):
        for name, it in self.files.items():
            mine = name == "var/lib/lakegate"
            self.assertEqual((it.uid, it.gid), (10001, 10001) if mine else (0, 0), name)
            self.assertEqual(it.mode & 0o6000, 0, f"{name} runs as another")
            if name != "tmp":
                self.assertEqual(it.mode & 0o022, 0, f"{name} can be written")
        self.assertEqual(self.files["tmp"].mode & 0o7777, 0o1777)
        self.assertEqual(self.config["config"]["User"], "10001:10001")

    def test_equal_files_make_an_equal_image(self):
        with tarfile.open(fileobj=io.BytesIO(archive(PROGRAM).stdout)) as outer:
            self.assertEqual(outer.extractfile("layer.tar").read(), self.layer)

    def test_size_is_limited_and_faults_are_told(self):
        done = archive(PROGRAM, "1000")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"larger than 1000 bytes", done.stderr)
        self.assertEqual(done.stdout, b"")
        done = archive(PROGRAM, "80000000")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr.decode(), r"\d+ bytes compressed")
        done = archive("/nowhere/lakegate")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"/nowhere/lakegate", done.stderr)

    def test_containerfile_makes_the_same(self):
        text = (REPOSITORY / "Containerfile").read_text().replace("\\\n", " ")
        final = text[text.rindex("FROM scratch"):]
        said = {}
        for line in final.splitlines():
            word, _, rest = line.partition(" ")
            said.setdefault(word, []).append(rest.strip())
        config = self.config["config"]
        self.assertEqual(said["USER"], [config["User"]])
        self.assertEqual(json.loads(said["ENTRYPOINT"][0]), config["Entrypoint"])
        self.assertEqual(said["WORKDIR"], [config["WorkingDir"]])
        self.assertEqual(shlex.split(said["ENV"][0]), config["Env"])
        self.assertEqual({f"{it}/tcp" for it in said["EXPOSE"][0].split()}, set(config["ExposedPorts"]))
        labels = dict(it.split("=", 1) for it in shlex.split(said["LABEL"][0]))
        version = said["ARG"][0].removeprefix("VERSION=")
        self.assertEqual({key: it.replace("${VERSION}", version) for key, it in labels.items()}, config["Labels"])
        self.assertIn("image/rootfs.sh", text)
        rust = re.search(r'^rust-version = "(.*)"', (REPOSITORY / "Cargo.toml").read_text(), re.MULTILINE)[1]
        self.assertIn(f"ARG RUST=rust:{rust}-", text)


if __name__ == "__main__":
    unittest.main()
