"""The five methods of Fang 2023, Table 1, trained alike on a small grid, to be compared with each other."""
