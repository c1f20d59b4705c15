"""The mean clip of a caption: what can be said of a clip when only its words are known."""

import itertools
import re

import torch


def word_features(caption):
    """A caption's words, and its pairs of words in their order: a set.

    "a red star moving left" gives "red", "left" and also ("red", "left").
    """
    words = list(dict.fromkeys(re.findall(r"\w+", caption.lower())))
    return {*words, *itertools.combinations(words, 2)}


class ExpectedClips:
    """Ridge regression of clips on the words and pairs of words of their captions.

    Of pure noise a denoiser can do no better than to predict E[clip | caption]. Single clips say that with
    noise of their own many times larger than what a word of motion changes, and a small model loses the word
    in it; the fitted mean says it at once. Pairs let colour and direction speak together ("something red on
    the left"), and the penalty keeps rare pairs near what their words say apart.
    """

    def __init__(self, clips, captions, penalty=4.0):
        """Fit.

        Arguments:
            clips: tensors (F, 4, h, w) of one size, in the UNet's latent units.
            captions: a text for each.
            penalty: of the squared coefficients, in clips: a word seen so often counts half.

        Raises: ValueError for no clips, or another number of captions.
        """
        if not clips or len(clips) != len(captions):
            raise ValueError(
                f"A mean clip needs clips and a caption for each, got {len(clips)} and {len(captions)}."
            )
        features = sorted(set().union(*map(word_features, captions)), key=str)
        self.column = {feature: number for number, feature in enumerate(features)}
        told = torch.stack([self._row(caption) for caption in captions])
        seen = torch.stack([clip.float().flatten() for clip in clips])
        self.mean = seen.mean(0)
        gram = told @ told.T + penalty * torch.eye(len(clips))  # dual form: clips are fewer than pairs
        weights = told.T @ torch.linalg.solve(gram, seen - self.mean)
        self.weights, self.shape = weights.half(), clips[0].shape

    def __call__(self, captions, places=None):
        """B captions -> their mean clips, (B, F, 4, h, w) float32; with `places` (N,) only those frames."""
        rows = torch.stack([self._row(caption) for caption in captions])
        used = rows.any(0)
        clips = (rows[:, used] @ self.weights[used].float() + self.mean).unflatten(1, self.shape)
        return clips if places is None else clips[:, places]

    def _row(self, caption):
        row = torch.zeros(len(self.column))
        row[[self.column[f] for f in word_features(caption) if f in self.column]] = 1
        return row
