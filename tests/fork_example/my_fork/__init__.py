"""A fork in miniature: a distiller, a kernel, noise, a data set and a network, without a change to ddjax."""
