"""Wrong specs and defects have tests of their own; the pytest plugin is not to collect them."""

collect_ignore_glob = ["invalid/*", "defects/*", "data/*"]
