"""A fork in miniature: a distiller, a kernel, two noise models and a data set, without a change to ddjax."""
