"""`cuda_library`: kernels compiled by the pinned nvcc for sm_80, sm_90 and newer (PTX)."""

load("@wheels//:site.bzl", "SITE")

def _cuda_objects_impl(ctx):
    headers = depset(ctx.files.hdrs, transitive = [
        d[CcInfo].compilation_context.headers
        for d in ctx.attr.deps
    ])
    objects = []
    for src in ctx.files.srcs:
        obj = ctx.actions.declare_file(src.basename[:-len(".cu")] + ".cu.o")
        ctx.actions.run(
            executable = SITE + "/nvidia/cu13/bin/nvcc",
            arguments = [
                "-std=c++17",
                "-O3",
                "-fmad=false",
                "-Xcompiler=-fPIC,-ffp-contract=off",
                "-gencode=arch=compute_80,code=sm_80",
                "-gencode=arch=compute_90,code=sm_90",
                "-gencode=arch=compute_90,code=compute_90",
                "-I.",
                "-c",
                src.path,
                "-o",
                obj.path,
            ],
            env = {"PATH": "/usr/bin:/bin"},
            inputs = depset([src], transitive = [headers]),
            outputs = [obj],
            mnemonic = "Nvcc",
            progress_message = "Compiling CUDA " + src.short_path,
        )
        objects.append(obj)
    return [DefaultInfo(files = depset(objects))]

_cuda_objects = rule(
    implementation = _cuda_objects_impl,
    attrs = {
        "srcs": attr.label_list(allow_files = [".cu"]),
        "hdrs": attr.label_list(allow_files = [".h"]),
        "deps": attr.label_list(providers = [CcInfo]),
    },
)

def cuda_library(name, srcs, hdrs = [], deps = [], visibility = None):
    """A cc_library of .cu files; `deps` are cc_libraries whose headers the kernels include."""
    _cuda_objects(name = name + "_objects", srcs = srcs, hdrs = hdrs, deps = deps)
    native.cc_library(
        name = name,
        srcs = [":" + name + "_objects"],
        hdrs = hdrs,
        visibility = visibility,
        deps = deps + ["@wheels//:cudart"],
    )
