# What can be worked out by hand: two potentials in one dimension, of no run.


rule toy:
    message:
        "toy potentials"
    input:
        code=code(
            "toy.py",
            "toy.py",
            "optimizers.py",
            "dynamics/optimizer_map.py",
            *dict.fromkeys(file for flow in ("rod", "rod_unit_step", "closure") for file in FLOW_CODE[flow]),
        ),
    output:
        ROOT + "/toy.nc",
    resources:
        **COMPUTING,
    log:
        ROOT + "/logs/toy.log",
    shell:
        "python {input.code[0]} --root {ROOT} --output {output} 2> {log}"
