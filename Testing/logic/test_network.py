"""The landmark network and DSNT."""

import numpy as np
import pytest
import torch

from LandmarkFusionLogic.landmarks.network import LandmarkNetwork, dsnt, heatmap_covariance


class TestLandmarkNetwork:
    def test_gives_normalized_heatmaps_and_a_mask_on_the_grid_of_its_input(self):
        network = LandmarkNetwork(landmarks=3, widths=[4, 8, 8])
        output = network(torch.randn(2, 1, 8, 12, 16))
        assert output.heatmaps.shape == (2, 3, 8, 12, 16)
        assert output.gland_logits.shape == (2, 1, 8, 12, 16)
        assert torch.allclose(output.heatmaps.flatten(2).sum(-1), torch.ones(2, 3), atol=1e-5)
        assert float(output.heatmaps.detach().min()) >= 0

    def test_the_default_is_a_few_megabytes(self):
        weights = sum(p.numel() for p in LandmarkNetwork().parameters())
        assert 0.2e6 < weights < 2e6

    def test_every_weight_learns(self):
        network = LandmarkNetwork(widths=[4, 8, 8])
        output = network(torch.randn(1, 1, 8, 8, 8))
        (dsnt(output.heatmaps).square().sum() + output.gland_logits.square().sum()).backward()
        # A bias before an instance normalization is taken away by it; every other weight has a slope.
        for name, weight in network.named_parameters():
            assert weight.grad is not None, name
        assert float(network.stem[0].weight.grad.abs().max()) > 0

    def test_intensities_scaled_and_shifted_change_little(self):
        torch.manual_seed(0)
        network = LandmarkNetwork(widths=[4, 8, 8]).eval()
        x = torch.randn(1, 1, 16, 16, 16)
        with torch.no_grad():
            a, b = (dsnt(network(image).heatmaps) for image in (x, 3 * x))
        assert torch.allclose(a, b, atol=0.5)


class TestDsnt:
    def test_a_single_hot_voxel_is_found_exactly(self):
        heatmaps = torch.zeros(1, 2, 5, 6, 7)
        heatmaps[0, 0, 1, 2, 3] = 1
        heatmaps[0, 1, 4, 5, 6] = 1
        assert dsnt(heatmaps).tolist() == [[[1, 2, 3], [4, 5, 6]]]
        assert heatmap_covariance(heatmaps).abs().max() == 0

    def test_expectation_and_covariance_of_two_voxels(self):
        heatmaps = torch.zeros(1, 1, 5, 6, 7)
        heatmaps[0, 0, 1, 1, 1] = 0.25
        heatmaps[0, 0, 1, 5, 3] = 0.75
        assert dsnt(heatmaps)[0, 0].tolist() == pytest.approx([1.0, 4.0, 2.5])
        # Variance p (1 - p) d² along each axis, and the product for the covariance.
        expected = 0.25 * 0.75 * np.outer([0, 4, 2], [0, 4, 2])
        assert heatmap_covariance(heatmaps)[0, 0].numpy() == pytest.approx(expected, abs=1e-6)

    def test_a_sampled_gaussian_gives_its_mean_and_spread_between_voxels(self):
        mean, sigma = np.array([9.3, 10.7, 8.1]), 1.5
        k, j, i = np.meshgrid(*(np.arange(20),) * 3, indexing="ij")
        square = (k - mean[0]) ** 2 + (j - mean[1]) ** 2 + (i - mean[2]) ** 2
        heat = np.exp(-0.5 * square / sigma**2)
        heatmaps = torch.from_numpy(heat / heat.sum())[None, None]
        assert dsnt(heatmaps)[0, 0].numpy() == pytest.approx(mean, abs=1e-4)
        assert heatmap_covariance(heatmaps)[0, 0].numpy() == pytest.approx(sigma**2 * np.eye(3), abs=1e-3)
