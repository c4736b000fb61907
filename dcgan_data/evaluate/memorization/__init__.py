"""Everything about copying, on one page. The paper did no search for copies; this is an addition."""
