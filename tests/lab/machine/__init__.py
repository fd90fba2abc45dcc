"""The incident lab: a virtual machine with Debian's kernel, our exporter, its peers and a maker of faults."""
