#!/usr/bin/env python3
"""Signal to noise of our packed formats beside llama.cpp's at equal bits, on matrices of several kinds.

    pip install -r tools/quality/requirements.txt
    tools/quality/signal_to_noise.py [--zaya build/zaya] [--seed 1]

Ours is what `zaya pack` writes, decoded here after src/ops/packed/layout.h: the matrices stand as experts in a model that
is packed, and the whole must have the noise that `zaya pack` reports. Theirs is quantised by ggml's own functions (package
libggml-python), without an importance matrix, and decoded by gguf's. gguf quantises Q8_0 in Python too: the bytes must be
the same. Bits count everything that is stored, with our FP32 factor of each row of 2,048.

--model OUT --experts FORMAT instead writes the embedded model with its experts as they come back from ggml's FORMAT, in
FP32 (rows are shorter than Q4_K's blocks of 256, which then cross them). Packed as q8 it is what divergence.py can compare
with our q4: the same but for the experts.
"""

import argparse
import ctypes
import json
import pathlib
import shutil
import struct
import subprocess
import tempfile

import gguf
import libggml
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
NANO = ROOT / "models/nano"
EXPERTS, HIDDEN, WIDTH = 8, 192, 2048  # down projections are [HIDDEN, WIDTH]; two of each kind
TABLE4 = np.array([6, 18, 31, 45, 60, 77, 98, 127])
THEIRS = {"q8": ["Q8_0"], "q4": ["Q4_K", "IQ4_NL"]}


def matrices(seed):
    """{kind: [2 · HIDDEN, WIDTH] FP32}."""
    random = np.random.default_rng(seed)
    shape = (2 * HIDDEN, WIDTH)
    log_normal = lambda *size: np.exp(0.5 * random.standard_normal(size))
    kinds = {
        "Gaussian": random.standard_normal(shape),
        "Student t, 4 degrees of freedom": random.standard_t(4, shape),
        "Laplace": random.laplace(size=shape),
        "Gaussian, rows and columns of different size":
            random.standard_normal(shape) * log_normal(shape[0], 1) * log_normal(1, shape[1]),
    }
    return {kind: (0.02 * values).astype(np.float32) for kind, values in kinds.items()}


def decibels(expected, actual):
    expected, noise = expected.astype(np.float64), expected.astype(np.float64) - actual
    return 10 * np.log10((expected**2).sum() / (noise**2).sum())


def to_fp32(tensor):
    """A BF16 tensor's values."""
    dtype, shape, data = tensor
    assert dtype == "BF16"
    return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)


def read_safetensors(path):
    """{name: (dtype, shape, bytes)}."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    return {name: (entry["dtype"], entry["shape"], data[slice(*(8 + length + at for at in entry["data_offsets"]))])
            for name, entry in json.loads(data[8 : 8 + length]).items() if name != "__metadata__"}


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for *_, data in tensors.values()))


def write_model(directory, experts):
    """The embedded model's first layer with these down projections [EXPERTS, HIDDEN, WIDTH]; gates and ups are zeros."""
    config = json.loads((NANO / "config.json").read_text())
    assert (config["num_experts"], config["hidden_size"]) == (EXPERTS, HIDDEN)
    config.update(num_hidden_layers=1, layer_types=config["layer_types"][:1], moe_intermediate_size=WIDTH)
    tensors = {name: tensor for name, tensor in read_safetensors(NANO / "model.safetensors").items()
               if ".layers." not in name or ".layers.0." in name}
    shape = [EXPERTS, 2 * WIDTH, HIDDEN]
    tensors["model.layers.0.mlp.experts.gate_up_proj"] = ("BF16", shape, bytes(2 * EXPERTS * 2 * WIDTH * HIDDEN))
    tensors["model.layers.0.mlp.experts.down_proj"] = ("F32", list(experts.shape), experts.tobytes())
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    write_safetensors(directory / "model.safetensors", tensors)


def decode(kind, data, rows, cols):
    """Packed bytes as values [rows, cols] without the rows' factors: blocks of 16 rows of superblocks of 64 columns."""
    blocks = np.frombuffer(data, np.uint8).reshape(rows // 16, cols // 64, -1)
    scales = blocks[:, :, :64].reshape(rows // 16, cols // 64, 4, 16).astype(np.int32)
    scales = np.exp2((scales >> 4) - 15.0) * (1 + (scales & 15) / 16)
    if kind == "q8":  # 16 times four columns of 16 rows
        values = blocks[:, :, 64:].view(np.int8).reshape(*blocks.shape[:2], 16, 16, 4)
    else:  # 8 times eight columns of 16 rows, two in a byte
        codes = blocks[:, :, 64:].reshape(*blocks.shape[:2], 8, 16, 4)
        codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(*blocks.shape[:2], 8, 16, 8)
        values = np.where(codes & 8, -1, 1) * TABLE4[codes & 7]
    values = values.swapaxes(3, 4).reshape(*blocks.shape[:2], 4, 16, 16)  # group, column, row
    values = values * scales[:, :, :, None, :]
    return values.reshape(rows // 16, cols, 16).swapaxes(1, 2).reshape(rows, cols)


def ours(zaya, kind, weights, scratch):
    """`weights` [n, WIDTH] through `zaya pack --format kind` and back; and the bits of a weight."""
    experts = weights.reshape(EXPERTS, HIDDEN, WIDTH)
    source, packed = scratch / "model", scratch / kind
    if not source.exists():
        write_model(source, experts)
    report = json.loads(subprocess.run([zaya, "pack", source, packed, "--format", kind, "--json"], check=True,
                                       stdout=subprocess.PIPE).stdout)
    tensors = read_safetensors(packed / "model.safetensors")
    found, stored = [], 0
    for expert in range(EXPERTS):
        name = f"model.layers.0.mlp.experts.{expert}.down"
        data, factors = tensors[f"{name}.{kind}"][2], tensors[f"{name}.row_scale"][2]
        found.append(decode(kind, data, HIDDEN, WIDTH) * np.frombuffer(factors, "<f4")[:, None])
        stored += len(data) + len(factors)
    found = np.concatenate(found)
    reported = next(entry["decibels"] for entry in report["classes"] if entry["class"] == "experts")
    assert abs(decibels(weights, found) - reported) < 0.01, (decibels(weights, found), reported)
    return found, 8 * stored / weights.size


def theirs(name, weights):
    """`weights` in ggml's format and back; and the bits of a weight."""
    kind = gguf.GGMLQuantizationType[name]
    library = ctypes.CDLL(str(pathlib.Path(libggml.__file__).parent / "lib64/libggml-base.so"))
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                                            ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    block, size = gguf.GGML_QUANT_SIZES[kind]
    data = np.zeros((weights.shape[0], weights.shape[1] // block * size), np.uint8)
    written = library.ggml_quantize_chunk(int(kind), weights.ctypes.data, data.ctypes.data, 0, *weights.shape, None)
    assert written == data.size
    if name == "Q8_0":
        assert np.array_equal(data, gguf.quants.quantize(weights, kind))
    return gguf.quants.dequantize(data, kind), 8 * size / block


def write_requantised(name, out):
    """The embedded model with its experts through ggml's format `name`."""
    shutil.copytree(NANO, out)
    tensors = read_safetensors(NANO / "model.safetensors")
    for key in tensors:
        if ".mlp.experts." in key:
            weights = to_fp32(tensors[key])
            rows = np.ascontiguousarray(weights.reshape(-1, 256))  # Q4_K's block
            tensors[key] = ("F32", list(weights.shape), theirs(name, rows)[0].astype("<f4").tobytes())
    write_safetensors(out / "model.safetensors", tensors)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zaya", default=ROOT / "build/zaya", type=pathlib.Path)
    parser.add_argument("--seed", default=1, type=int)
    parser.add_argument("--experts", choices=sum(THEIRS.values(), []), help="with --model: the experts' format")
    parser.add_argument("--model", type=pathlib.Path, help="write this model, and measure nothing")
    arguments = parser.parse_args()
    if (arguments.experts is None) != (arguments.model is None):
        parser.error("--experts and --model go together")
    if arguments.model:
        write_requantised(arguments.experts, arguments.model)
        return
    kinds = matrices(arguments.seed)
    weights = np.concatenate(list(kinds.values()))
    columns = {}
    with tempfile.TemporaryDirectory() as scratch:
        for kind, others in THEIRS.items():
            for name in others:
                columns[name] = theirs(name, weights)
            columns[kind] = ours(arguments.zaya, kind, weights, pathlib.Path(scratch))
    rows = len(weights) // len(kinds)
    titles = [f"{name}, {round(bits, 3):g} bits" for name, (_, bits) in columns.items()]
    print(f"| {rows} × {WIDTH} weights, dB | " + " | ".join(titles) + " |")
    print("|---" * (1 + len(columns)) + "|")
    for i, kind in enumerate(kinds):
        part = slice(i * rows, (i + 1) * rows)
        found = [f"{decibels(weights[part], decoded[part]):.2f}" for decoded, _ in columns.values()]
        print(f"| {kind} | " + " | ".join(found) + " |")


if __name__ == "__main__":
    main()
