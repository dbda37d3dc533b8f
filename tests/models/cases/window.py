"""Cases of operators on images: windows, their pools and products, and sampling."""

import numpy as np

from one_node import F32, F64, I8, I64, Case, Constant, ints, numbers

from . import operator


@operator("Conv")
def convolution(name, version):
    image, line = numbers("x", (2, 4, 7, 9)), numbers("x", (2, 4, 13))
    filters, groups = Constant(numbers("w", (5, 4, 3, 2))), Constant(numbers("w", (6, 2, 3, 3)))
    yield Case("plain", [image, filters])
    yield Case("bias", [image, filters, Constant(numbers("b", (5,)))])
    yield Case("padded", [image, filters], {"pads": [1, 0, 2, 1], "strides": [2, 3], "dilations": [2, 1]})
    yield Case("groups", [image, groups], {"group": 2, "pads": [1, 1, 1, 1]})
    yield Case("depthwise", [image, Constant(numbers("w", (4, 1, 3, 3)))], {"group": 4, "strides": [2, 2]})
    yield Case("multiplier", [image, Constant(numbers("w", (8, 1, 2, 2)))], {"group": 4})
    yield Case("patches", [image, Constant(numbers("w", (5, 4, 3, 3))), Constant(numbers("b", (5,)))],
               {"strides": [3, 3]})
    yield Case("line", [line, Constant(numbers("w", (3, 4, 3)))], {"pads": [1, 1], "strides": [2]})
    yield Case("line_run_time_weights", [line, numbers("w", (3, 4, 1)), numbers("b", (3,))])
    yield Case("volume", [numbers("x", (1, 2, 4, 5, 3)), Constant(numbers("w", (2, 2, 2, 2, 2)))])
    yield Case("same_upper", [image, filters], {"auto_pad": "SAME_UPPER", "strides": [2, 2]})
    yield Case("same_lower", [image, filters], {"auto_pad": "SAME_LOWER", "strides": [2, 2]})
    yield Case("f64", [numbers("x", (1, 2, 5), F64), Constant(numbers("w", (2, 2, 3), F64))])


@operator("ConvTranspose")
def conv_transpose(name, version):
    x, w = numbers("x", (2, 4, 5, 3)), numbers("w", (4, 3, 3, 2))
    yield Case("plain", [x, w, numbers("b", (3,))])
    yield Case("strides", [x, Constant(w)], {"strides": [2, 3], "pads": [1, 0, 2, 1], "output_padding": [1, 0]})
    yield Case("groups", [x, w], {"group": 2, "dilations": [2, 1], "strides": [2, 1]})
    if version < 22:  # which onnxruntime has no kernel of, and the evaluator refuses
        yield Case("shape", [x, Constant(w)], {"output_shape": [10, 5], "strides": [2, 2]})
        yield Case("same", [x, w], {"auto_pad": "SAME_UPPER", "strides": [2, 2]})
    yield Case("one_axis", [numbers("x", (1, 2, 4)), Constant(numbers("w", (2, 2, 3)))], {"strides": [4]})


@operator("Col2Im")
def col2im(name, version):
    yield Case("overlap", [numbers("x", (2, 12, 6)), ints(4, 5), ints(2, 3)], {"pads": [0, 0, 0, 0], "strides": [2, 1]})
    yield Case("pads", [Constant(numbers("x", (1, 8, 9))), ints(4, 4), ints(2, 2)],
               {"pads": [1, 0, 1, 0], "strides": [2, 1], "dilations": [1, 1]})


@operator("MaxPool", "AveragePool")
def pools(name, version):
    image = numbers("x", (2, 3, 7, 9))
    yield Case("plain", [image], {"kernel_shape": [3, 2]})
    yield Case("strided", [image], {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1]})
    yield Case("line", [numbers("x", (2, 3, 10))], {"kernel_shape": [4], "strides": [2]})
    yield Case("same", [image], {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"})
    if version >= 10:
        yield Case("ceil", [image], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1})
        yield Case("ceil_padded", [image], {"kernel_shape": [3, 4], "strides": [3, 3], "pads": [1, 1, 1, 1],
                                            "ceil_mode": 1})
    if name == "AveragePool":
        yield Case("padding_counts", [image], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1})
    if name == "MaxPool" and version >= 10:
        yield Case("dilated", [image], {"kernel_shape": [2, 3], "dilations": [2, 2]})
    if name == "MaxPool" and version >= 11:
        found = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 1, 1]}
        yield Case("places", [np.round(image)], found, 2)  # with equal elements
        yield Case("places_by_columns", [image], {**found, "storage_order": 1}, 2)
    if name == "MaxPool" and version >= 12:
        yield Case("i8", [numbers("x", (1, 2, 5), I8, -9, -1)], {"kernel_shape": [3], "pads": [1, 1]})


@operator("MaxUnpool")
def max_unpool(name, version):
    places = np.array([[[[0, 3], [9, 14]], [[16, 18], [25, 31]]]], I64)
    yield Case("planes", [numbers("x", (1, 2, 2, 2)), places], {"kernel_shape": [2, 2], "strides": [2, 2]})
    padded = {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 0, 1]}
    yield Case("pads", [numbers("x", (1, 1, 2, 2)), np.array([[[[0, 3], [9, 14]]]], I64)], padded)
    found_again = np.array([[[[7, 7], [7, 3]]]], F32), np.array([[[[5, 5], [5, 10]]]], I64)
    yield Case("twice", [*found_again], {"kernel_shape": [3, 3]})


@operator("DeformConv")
def deform_conv(name, version):
    x, w = numbers("x", (2, 4, 5, 6)), Constant(numbers("w", (6, 2, 3, 2)))
    place = {"group": 2, "offset_group": 2, "pads": [1, 0, 1, 1], "strides": [2, 1], "dilations": [1, 2]}
    offset, mask = numbers("o", (2, 24, 3, 5), low=-2.5, high=2.5), numbers("m", (2, 12, 3, 5))
    yield Case("bent", [x, w, offset, Constant(numbers("b", (6,))), mask], place)


@operator("RoiAlign")
def roi_align(name, version):
    x = numbers("x", (2, 3, 7, 9))
    regions = np.array([[1, 2, 20, 30], [-9, -3, 8, 5], [30, 25, 40, 60], [4, 4, 4.5, 4.25]], F32)
    images = np.array([1, 0, 1, 0], I64)
    size = {"output_height": 2, "output_width": 3, "sampling_ratio": 2, "spatial_scale": 0.25}
    yield Case("mean", [x, regions, images], size)
    yield Case("most", [x, regions, images], {**size, "mode": "max"})
    if version >= 16:
        yield Case("output_half_pixel", [x, regions, images], {**size, "coordinate_transformation_mode": "output_half_pixel"})


@operator("GlobalMaxPool", "GlobalAveragePool")
def global_pools(name, version):
    yield Case("image", [numbers("x", (2, 3, 4, 5))])
    yield Case("line", [numbers("x", (2, 3, 7))])


@operator("LpPool")
def lp_pool(name, version):
    yield Case("two", [numbers("x", (1, 2, 5, 6))], {"kernel_shape": [2, 3], "strides": [2, 1]})
    yield Case("three", [numbers("x", (1, 2, 7))], {"kernel_shape": [3], "p": 3, "pads": [1, 1]})


@operator("GlobalLpPool")
def global_lp_pool(name, version):
    if version < 22:  # neither onnxruntime nor the evaluator has it
        yield Case("one", [numbers("x", (2, 3, 4, 5))], {"p": 1})


@operator("LRN")
def local_response(name, version):
    yield Case("odd", [numbers("x", (2, 5, 3, 2))], {"size": 3, "alpha": 0.5})
    yield Case("all", [numbers("x", (1, 4, 2, 2))], {"size": 7, "beta": 0.5, "bias": 2.0})


@operator("Resize")
def resize(name, version):
    x = numbers("x", (1, 2, 4, 5))
    scales = Constant(np.array([1, 1, 2, 0.6], F32))
    if version < 11:
        yield Case("nearest", [x, Constant(np.array([1, 1, 3, 2], F32))], {"mode": "nearest"})
        yield Case("linear", [x, Constant(np.array([1, 1, 2, 0.5], F32))], {"mode": "linear"})
        return
    roi = Constant(np.zeros((0,), F32))
    for mode in ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"):
        yield Case(f"nearest_{mode}", [x, roi, scales], {"coordinate_transformation_mode": mode})
        yield Case(f"linear_{mode}", [x, roi, Constant(np.array([1, 1, 0.5, 3], F32))],
                   {"coordinate_transformation_mode": mode, "mode": "linear"})
    yield Case("cubic", [x, roi, Constant(np.zeros((0,), F32)), ints(1, 2, 7, 3)], {"mode": "cubic"})
    crop = Constant(np.array([0, 0, 0.2, 0.4, 1, 1, 0.9, 1.5], F32))
    attributes = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}
    yield Case("crop", [x, crop, Constant(np.zeros((0,), F32)), ints(1, 2, 3, 6)], attributes)
    if version >= 18:
        yield Case("antialias", [x, None, Constant(np.array([0.5, 0.6], F32))],
                   {"mode": "linear", "antialias": 1, "axes": [2, 3]})
    else:
        yield Case("whole_pixels", [x, roi, scales], {"coordinate_transformation_mode": "tf_half_pixel_for_nn"})
    yield Case("bytes", [numbers("x", (1, 2, 4, 5), I8, -128, 127), roi, Constant(np.array([1, 1, 2, 2], F32))],
               {"mode": "linear"})


@operator("Upsample")
def upsample(name, version):
    x = numbers("x", (1, 2, 3, 2))
    if version < 10:
        yield Case("nearest", [x, Constant(np.array([1, 1, 2, 3], F32))])
        yield Case("linear", [x, Constant(np.array([1, 1, 2, 2], F32))], {"mode": "linear"})


@operator("GridSample")
def grid_sample(name, version):
    x, grid = numbers("x", (2, 3, 4, 5)), numbers("g", (2, 3, 2, 2), low=-1.3, high=1.3)
    for mode in ("nearest", "bilinear", "bicubic") if version < 20 else ("nearest", "linear", "cubic"):
        for k, beyond in enumerate(("zeros", "border", "reflection")):
            if mode == "nearest" or version < 20:
                yield Case(f"{mode}_{beyond}", [x, grid],
                           {"mode": mode, "padding_mode": beyond, "align_corners": (k + len(mode)) % 2})


@operator("AffineGrid")
def affine_grid(name, version):
    yield Case("two", [numbers("t", (2, 2, 3)), ints(2, 3, 4, 5)])
    yield Case("corners", [numbers("t", (1, 2, 3)), ints(1, 1, 2, 3)], {"align_corners": 1})
