"""Tables and arrays that the steps hand to each other, written in bounded pieces."""
