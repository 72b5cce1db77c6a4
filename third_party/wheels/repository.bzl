"""A repository over the folder that third_party/wheels/install.sh filled from requirements.lock."""

def _site(ctx, variable, lock):
    """The folder that holds what `lock` lists."""
    site = ctx.os.environ.get(variable, "")
    if site:
        return site

    # Reached only when bazel is called without ./bazelw.
    result = ctx.execute(
        [ctx.path(Label("//third_party/wheels:install.sh")), ctx.path(lock)],
        timeout = 3600,
        quiet = False,
    )
    if result.return_code != 0:
        fail("installing the wheels failed: " + result.stderr)
    return result.stdout.strip()

def _impl(ctx):
    site = _site(ctx, "EVOGRAD_WHEELS", ctx.attr.lock)
    peers = _site(ctx, "EVOGRAD_PEERS", ctx.attr.peers_lock)
    ctx.symlink(site + "/nvidia", "nvidia")

    # LibTorch carries headers of another protobuf, which would hide Debian's from a file that includes both.
    for header in ctx.path(site + "/torch/include").readdir():
        if header.basename != "google":
            ctx.symlink(header, "torch/include/" + header.basename)
    ctx.template("BUILD", ctx.attr.build_file, {"{SITE}": site})

    # Tests that run Python put both on its path.
    ctx.file("site.bzl", 'SITE = "%s"\nPEERS = "%s"\n' % (site, peers))

wheels_repository = repository_rule(
    implementation = _impl,
    attrs = {
        "build_file": attr.label(mandatory = True),
        "lock": attr.label(mandatory = True),
        "peers_lock": attr.label(mandatory = True),
    },
    environ = [
        "EVOGRAD_PEERS",
        "EVOGRAD_WHEELS",
    ],
    local = False,
)
