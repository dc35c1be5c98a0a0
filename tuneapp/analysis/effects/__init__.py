"""Studies of effects: plans of cells judged table by table, and curves that others wrote."""
