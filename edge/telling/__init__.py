"""From alert to subscriber: what is stored until somebody has it, and what goes over MQTT."""
