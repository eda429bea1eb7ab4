"""Running a distiller: the loop, the guard against values that are not finite, fleets of members, and devices."""
