import { IsOptional, IsString, Matches } from 'class-validator';
import { IsText } from '../text.js';
import type { Group } from './group.entity.js';

export class CreateGroupDto {
  @IsText(1, 256)
  @Matches(/^[^/*]*$/, { message: 'a string without `/` and `*`' })
  pathNode!: string;

  @IsOptional()
  @IsString({ message: 'the id of a group' })
  parentId?: string | null;

  @IsOptional()
  @IsText(0, 2048)
  description?: string | null;
}

/** Manual 8.1.1. */
export interface GroupView {
  id: string;
  pathNode?: string;
  path: string;
  parentId?: string;
  description?: string;
  created: string;
  updated: string;
}

export const groupView = (group: Group): GroupView => ({
  id: group.id,
  ...(group.pathNode === null ? {} : { pathNode: group.pathNode }),
  path: group.path,
  ...(group.parentId === null ? {} : { parentId: group.parentId }),
  ...(group.description === null ? {} : { description: group.description }),
  created: group.created.toISOString(),
  updated: group.updated.toISOString(),
});
