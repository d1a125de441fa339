# Image repositories: a tag means one image forever, and each image is scanned when it is pushed.

resource "aws_ecr_repository" "main" {
  for_each             = var.repositories
  name                 = each.value
  image_tag_mutability = "IMMUTABLE"
  force_delete         = var.force_destroy

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = var.kms_key_arn
  }
}

resource "aws_ecr_lifecycle_policy" "main" {
  for_each   = var.repositories
  repository = aws_ecr_repository.main[each.value].name

  policy = jsonencode({
    rules = [
      {
        rulePriority = 1
        description  = "Images that lost their tag"
        selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 7 }
        action       = { type = "expire" }
      },
      # An image that one rule matches is left alone by later rules: one that servers run stays, however many of flows are pushed.
      {
        rulePriority = 2
        description  = "Images that servers run"
        selection    = { tagStatus = "tagged", tagPrefixList = ["servers-"], countType = "imageCountMoreThan", countNumber = 5 }
        action       = { type = "expire" }
      },
      {
        rulePriority = 3
        description  = "Images of single retrains"
        selection    = { tagStatus = "tagged", tagPrefixList = ["train-"], countType = "imageCountMoreThan", countNumber = 10 }
        action       = { type = "expire" }
      },
      {
        rulePriority = 4
        description  = "All but the newest, those ten counted too"
        selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = var.keep_images + 10 }
        action       = { type = "expire" }
      },
    ]
  })
}
