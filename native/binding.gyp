{
  "variables": { "has_bench%": "<!(test -d bench && echo 1 || echo 0)" },
  "targets": [
    {
      "target_name": "nat64d_native",
      "sources": [
        "src/addon.c",
        "src/args.c",
        "src/burst.c",
        "src/datagram.c",
        "src/error.c",
        "src/link.c",
        "src/lock.c",
        "src/poller.c",
        "src/process.c",
        "src/result.c",
        "src/router.c",
        "src/run.c",
        "src/socket-address.c",
        "src/socket-batch.c",
        "src/steering.c",
        "src/sums.c",
        "src/tun.c",
        "src/udp.c"
      ],
      "defines": ["NAPI_VERSION=9", "_GNU_SOURCE"],
      "cflags!": ["-O3"],
      "cflags": [
        "-std=c17",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-U_FORTIFY_SOURCE",
        "-D_FORTIFY_SOURCE=2",
        "-fstack-protector-strong",
        "-fvisibility=hidden"
      ],
      "ldflags": ["-Wl,-z,relro,-z,now"]
    }
  ],
  "conditions": [
    # The load generators of the benchmarks are no part of the package.
    [
      "<(has_bench) == 1",
      {
        "targets": [
        {
          "target_name": "loadgen",
          "type": "executable",
          "sources": [
            "bench/authority.c",
            "bench/copy.c",
            "bench/echo.c",
            "bench/forge.c",
            "bench/gso.c",
            "bench/hosts.c",
            "bench/load.c",
            "bench/loadgen.c",
            "bench/queries.c",
            "bench/raw.c",
            "bench/times.c"
          ],
          "defines": ["_GNU_SOURCE"],
          "cflags": ["-std=c17", "-O2", "-Wall", "-Wextra", "-Werror"]
        }
        ]
      }
    ]
  ]
}
