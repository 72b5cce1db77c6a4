"""A repository over the folder that third_party/wheels/install.sh filled from requirements.lock."""

def _impl(ctx):
    site = ctx.os.environ.get("EVOGRAD_WHEELS", "")
    if not site:
        # Reached only when bazel is called without ./bazelw.
        result = ctx.execute(
            [ctx.path(Label("//third_party/wheels:install.sh")), ctx.path(ctx.attr.lock)],
            timeout = 3600,
            quiet = False,
        )
        if result.return_code != 0:
            fail("installing the wheels failed: " + result.stderr)
        site = result.stdout.strip()
    ctx.symlink(site + "/nvidia", "nvidia")

    # LibTorch carries headers of another protobuf, which would hide Debian's from a file that includes both.
    for header in ctx.path(site + "/torch/include").readdir():
        if header.basename != "google":
            ctx.symlink(header, "torch/include/" + header.basename)
    ctx.template("BUILD", ctx.attr.build_file, {"{SITE}": site})
    ctx.file("site.bzl", 'SITE = "%s"\n' % site)

wheels_repository = repository_rule(
    implementation = _impl,
    attrs = {
        "build_file": attr.label(mandatory = True),
        "lock": attr.label(mandatory = True),
    },
    environ = ["EVOGRAD_WHEELS"],
    local = False,
)
