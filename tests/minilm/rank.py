#!/usr/bin/env python3
"""Checks embeddings by what they are for: sentences rank the others as the reference does, and each sentence's
nearest is the one that says the same (sentences 2i and 2i + 1).
    rank.py EMBEDDINGS.npy REFERENCE.pb
"""

import sys

import numpy as np
import onnx
from onnx import numpy_helper

TIE = 1e-4  # similarities closer than this in the reference may swap


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: rank.py EMBEDDINGS.npy REFERENCE.pb")
    got, want = np.load(sys.argv[1]), numpy_helper.to_array(onnx.load_tensor(sys.argv[2]))
    if got.shape != want.shape:
        sys.exit(f"rank: shape {got.shape} is not {want.shape}")
    if not np.isfinite(got).all():
        sys.exit("rank: an embedding is not finite")
    near, near_want = got @ got.T, want @ want.T
    for row in range(len(got)):
        others = [index for index in range(len(got)) if index != row]
        if max(others, key=lambda index: near[row, index]) != row ^ 1:
            sys.exit(f"rank: sentence {row} is not nearest to sentence {row ^ 1}")
        for first in others:
            for second in others:
                ordered = near_want[row, first] > near_want[row, second] + TIE
                if ordered and near[row, first] <= near[row, second]:
                    sys.exit(f"rank: for sentence {row}, {first} should be nearer than {second}")
    print(f"rank: {len(got)} sentences in the reference's order")


if __name__ == "__main__":
    main()
