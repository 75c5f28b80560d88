"""Money owed, paid and earned: load, decide (`accounting`, pure), store in one transaction."""
