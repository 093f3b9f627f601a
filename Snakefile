# The workflow is in workflow/Snakefile, where catalogues look for it; this line keeps its default target, as `include:` does not.
workflow.include("workflow/Snakefile", overwrite_default_target=True)
