"""Messages and gRPC stubs from .proto files with Debian's protoc: `proto_messages` and `grpc_stubs`."""

ProtoSources = provider("The .proto files that importing this target needs.", fields = ["files"])

def _generate_impl(ctx):
    protos = ctx.files.srcs
    imports = depset(protos, transitive = [d[ProtoSources].files for d in ctx.attr.deps])
    outputs = []
    out_root = ctx.bin_dir.path
    for src in protos:
        base = src.basename[:-len(".proto")]
        for suffix in ctx.attr.suffixes:
            outputs.append(ctx.actions.declare_file(base + suffix))
    args = ctx.actions.args()
    args.add("--proto_path=.")
    if ctx.attr.grpc:
        args.add("--plugin=protoc-gen-grpc=/usr/bin/grpc_cpp_plugin")
        args.add("--grpc_out=" + out_root)
    else:
        args.add("--cpp_out=" + out_root)
    args.add_all(protos)
    ctx.actions.run(
        executable = "/usr/bin/protoc",
        arguments = [args],
        inputs = imports,
        outputs = outputs,
        mnemonic = "Protoc",
        progress_message = "Generating C++ from %{label}",
    )
    return [DefaultInfo(files = depset(outputs)), ProtoSources(files = imports)]

_generate = rule(
    implementation = _generate_impl,
    attrs = {
        "srcs": attr.label_list(allow_files = [".proto"]),
        "deps": attr.label_list(providers = [ProtoSources]),
        "suffixes": attr.string_list(),
        "grpc": attr.bool(),
    },
)

def _split(name, srcs, deps, suffix, grpc):
    _generate(
        name = name + "_generated",
        srcs = srcs,
        deps = [d + "_generated" for d in deps],
        grpc = grpc,
        suffixes = [suffix + ".h", suffix + ".cc"],
        visibility = ["//visibility:public"],
    )
    native.filegroup(name = name + "_sources", srcs = [":" + name + "_generated"])

def proto_messages(name, srcs, deps = [], visibility = None):
    """A cc_library of the messages in `srcs`; `deps` are other proto_messages, named with their package and target."""
    _split(name, srcs, deps, ".pb", False)
    native.cc_library(
        name = name,
        srcs = [":" + name + "_sources"],
        copts = ["-w"],
        visibility = visibility,
        deps = deps + ["//third_party/protobuf"],
    )

def grpc_stubs(name, srcs, deps, visibility = None):
    """A cc_library of the gRPC service stubs in `srcs`; `deps` are the proto_messages of the same files."""
    _split(name, srcs, deps, ".grpc.pb", True)
    native.cc_library(
        name = name,
        srcs = [":" + name + "_sources"],
        copts = ["-w"],
        visibility = visibility,
        deps = deps + ["//third_party/grpc"],
    )
