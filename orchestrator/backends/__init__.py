"""Where steps run: in process (``inline``), and in bundles on workers (``bundles``)."""
