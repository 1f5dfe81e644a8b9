"""
The emulated cloud's network below the overlay: subnets, routers, filters, impairments.

Not here: what the providers pass, which is data (`lab.clouds.providers`), and the overlay (`lab.overlay`).
"""
