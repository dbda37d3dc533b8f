#!/usr/bin/env bash
# Which of the toolkit's libraries are opened where there are several: those of the driver's major number, and with NVRTC
# its builtins, which the loader does not find by itself.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/cli_fixture.sh"

emulated=$SINTER_BUILD/tests/emulator
unset SINTER_LIBNVRTC SINTER_LIBCUBLASLT
export SINTER_LIBCUDA=$emulated/libemulated_cuda.so SINTER_CACHE=$folder/cache LD_LIBRARY_PATH=$folder/libraries
mkdir "$folder/libraries"
for major in 12 13; do
    ln -s "$emulated/libemulated_nvrtc.so" "$folder/libraries/libnvrtc.so.$major"
    ln -s "$emulated/libemulated_cublaslt.so" "$folder/libraries/libcublasLt.so.$major"
done

# opened VERSION MAJOR: with a driver of that version the libraries of that major number are opened.
opened() {
    SINTER_EMULATOR=version=$1 expect 0 " libnvrtc.so.$2, " doctor --no-peaks
    grep -qF " libcublasLt.so.$2, " "$folder/out" || { echo "FAILED: cuBLASLt for $1"; failures=$((failures + 1)); }
}

opened 12090 12
opened 13000 13
SINTER_LIBCUDA=/nowhere/libcuda.so.1 expect 0 " libnvrtc.so.13, " doctor --no-peaks
SINTER_EMULATOR=version=12090 SINTER_LIBNVRTC=$folder/libraries/libnvrtc.so.13 expect 0 "/libnvrtc.so.13, " doctor --no-peaks

# What is there of one version only is taken; a folder of the toolkit counts less than the version.
rm "$folder/libraries/libnvrtc.so.13" "$folder/libraries/libcublasLt.so.12"
SINTER_EMULATOR=version=12020 expect 0 " libnvrtc.so.12, " doctor --no-peaks

# Kernels compile, with another working folder, by a library that lies where the loader does not look.
unset LD_LIBRARY_PATH
model=$folder/model.onnx
expect 0 "" make attention --d-model 32 --heads 2 -o "$model"
cd /
SINTER_LIBNVRTC=$folder/libraries/libnvrtc.so.12 SINTER_LIBCUBLASLT=$emulated/libemulated_cublaslt.so \
    expect 0 "sizes taken" run "$model" --device cuda

# A driver that does not load what a newer NVRTC makes.
SINTER_LIBNVRTC=$folder/libraries/libnvrtc.so.12 SINTER_EMULATOR=version=12040,module=1,module_code=200 \
    expect 1 "the driver, which is of CUDA 12.4, does not load what NVRTC 99." run "$model" --device cuda

exit $((failures > 0))
