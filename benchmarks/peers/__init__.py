"""What people build when they do not use a metering product, as well as we can build it."""
