"""Which settings a command takes: those of a preset, of the run, and of flags."""

import pytest

from maskdistill.cli.main import build_parser, main
from maskdistill.cli.settings import read_settings
from maskdistill.config import load_preset
from maskdistill.storage.run_folder import Run


class TestSettings:
    @pytest.fixture
    def read(self, tmp_path):
        def read(*arguments):
            run = tmp_path / "run"
            options = build_parser().parse_args(["propose", "--run", str(run), *arguments])
            return read_settings(options, Run(run))

        return read

    def test_new_run_takes_the_quick_preset(self, read):
        assert read() == (load_preset("quick"), "quick")
        assert read("--preset", "paper-voc") == (load_preset("paper-voc"), "paper-voc")

    def test_existing_run_keeps_its_own(self, read, tmp_path):
        config = load_preset("paper-voc").with_overrides(["proposals.topk=0.3"])
        Run(tmp_path / "run").write_info({"config": config.to_dict(), "preset": "paper-voc"})
        assert read() == (config, "paper-voc")
        assert read("--set", "seed=4") == (config.with_overrides(["seed=4"]), "paper-voc")
        assert read("--preset", "quick") == (load_preset("quick"), "quick")

    def test_transformer_that_is_named_counts_beside_a_preset_too(self, read, tmp_path):
        info = {"config": load_preset("quick").to_dict(), "preset": "quick", "backbone": {"name": "dino_vits8"}}
        Run(tmp_path / "run").write_info(info)
        assert read("--backbone", "dino_vits8")[0].features.backbone == "auto"
        named = read("--preset", "quick", "--backbone", "dino_vits8")[0]
        assert named.features.backbone == "dino_vits8"

    def test_existing_run_needs_no_data(self, photos, stages, tmp_path):
        run = ["--run", str(tmp_path / "run")]
        assert main(["propose", "--data", str(photos), *run]) == 0
        assert main(["propose", *run]) == 0
        assert stages[1]["data"] == stages[0]["data"] == str(photos)

    def test_number_of_classes_changes_an_existing_run(self, read, tmp_path):
        config = load_preset("quick")
        Run(tmp_path / "run").write_info({"config": config.to_dict(), "preset": "quick"})
        assert read("--num-classes", "5")[0] == config.with_overrides(["clusters.num_classes=5"])
        assert read("--num-classes", "5", "--set", "clusters.num_classes=6")[0].clusters.num_classes == 6
