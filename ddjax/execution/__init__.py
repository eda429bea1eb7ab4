"""How a distiller runs: the loop, its guard, fleets of members, and devices."""
